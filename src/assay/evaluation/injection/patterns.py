"""What attempts to sway a judge look like: one set of patterns that is searched in one pass.

RE2 runs in linear time whatever the text. A pattern must be rare in honest outputs: the share of
false flags on recorded ones is measured (docs/attacks.md), and bounded by a test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import re2  # type: ignore[import-untyped]  # the wheel ships no stubs

from assay.domain.evaluation import Sign

SET_MEMORY_BYTES_MAX = 32 * 1024 * 1024
"""Room for the states of the set; it is reached by no ordinary text, and bounds a hostile one."""

_FEW = r"(?:\W+\w+){0,4}?\W+"
_SOME = r"(?:\W+\w+){0,8}?\W+"
_JUDGE = (
    r"(?:grad(?:er|ing (?:model|system|assistant|bot|ai))|judges?|evaluators?|assessors?|scorers?|"
    r"raters?|examiners?|(?:evaluation|scoring|judging) (?:model|system|assistant|bot|ai|agent))"
)
_KIND = r"(?:(?:ai|llm|automated|automatic|esteemed|dear|honou?rable|model) )*"
_GOOD = (
    r"(?:full (?:marks?|points|credit|score)|(?:perfect|maximum|max|highest|top|best)(?: possible)? "
    r"(?:score|marks?|grade|rating|points|level|label|verdict)|10 ?(?:/|out of) ?10|"
    r"5 ?(?:/|out of) ?5|100 ?(?:%|/ ?100|out of 100|percent)|(?:score|grade|rating|mark) of "
    r"(?:1\.0|5|10|100)\b|(?:a|an|as|as a|as an|to|with|verdict|label) ['\"]?(?:pass|passing|perfect|10|100)\b)"
)
_RATE = r"(?:give|award|assign|rate|score|grade|mark|evaluate|judge|deem|label|classify|return|output)"
_WORK = r"(?:answer|response|output|submission|reply|completion|essay|summary|solution|assistant)"
_RULES = (
    r"(?:instructions?|rubrics?|criteri(?:a|on)|guidelines?|directions?|directives?|prompts?|rules?|"
    r"orders|messages?|scale|text|context)"
)
_EARLIER = (
    r"(?:previous|prior|above|earlier|preceding|foregoing|former|system|initial|original|existing|"
    r"scoring|grading|evaluation|judging|your)"
)
_DROP = (
    r"(?:ignore|disregard|forget|override|bypass|overlook|set aside|pay no attention to|"
    r"do(?: not|n't) (?:follow|use|apply|obey))"
)

PATTERNS: Mapping[Sign, Sequence[str]] = {
    "delimiter": (
        r"[<＜\[] ?/? ?material[-_ ]?[0-9a-f]*[^\w\s]",
        r"</(?:candidate|response|answer|output|submission|student[_-]answer|data|document|untrusted)>"
        r"\s*\W{0,3}(?:<|now|system|new|instruction|grader|judge|the|verdict|score)",
        r"[\[({<#=*-]{1,5} ?/?(?:the )?end of (?:the )?(?:\w+ ){0,2}(?:answer|response|submission|"
        r"output|candidate|material|data|input|context)\b",
        r"(?:that was|this concludes|here ends) (?:all of )?the (?:material|submission|candidate)",
    ),
    "addresses_grader": (
        rf"(?:attention|note (?:to|for)|message (?:to|for)|instructions? (?:to|for)|"
        rf"reminder (?:to|for)|notice to)[,:]? (?:the |all |any |our )?{_KIND}{_JUDGE}\b",
        rf"(?:dear|hello|hi|hey|listen),? (?:ai |llm |automated ){{0,2}}(?:grad(?:er|ing \w+)|evaluator|"
        r"scorer|rater|(?:ai|llm|automated) judge)s?\b",
        rf"[\[(<{{*#] ?(?:to )?(?:the )?{_KIND}{_JUDGE}(?: note| instructions?)? ?[:,\]]",
        rf"\b(?:if|since|because|when) you(?: are|'re) (?:a|an|the) {_KIND}{_JUDGE}\b",
        rf"\b(?:as|being) (?:a|an|the) (?:fair |impartial )?{_KIND}{_JUDGE},? you\b",
        rf"\b(?:you|{_JUDGE})\W+(?:must|should|shall|have to|need to|are (?:required|instructed|asked"
        rf"|ordered|obliged) to|will now|is to|are to){_FEW}{_RATE}\b{_SOME}{_GOOD}",
        rf"\b{_RATE} (?:it|this|the|my|our)\b{_SOME}{_GOOD}",
        rf"\b(?:this|the|my) {_WORK}\W+(?:\w+\W+){{0,2}}?(?:deserves?|merits?|should (?:be|get|receive)"
        rf"|must (?:be|get|receive)|is (?:to be|worth)|earns|has earned){_SOME}"
        rf"(?:{_GOOD}|passed\b|pass\b|highest\b|top score)",
        rf"\b(?:this|the|my) {_WORK} (?:has|have|had|was|is)(?: already)?(?: been)? (?:pre-?|already )"
        r"?(?:approved|verified|graded|scored|evaluated|validated|marked) (?:by|as|and|with|at)\b",
        rf"\b(?:choose|select|prefer|pick|vote for|favou?r) (?:this|my|the (?:first|second)) {_WORK}\b",
        rf"\b(?:choose|select|prefer|pick|declare) (?:assistant|response|answer|model|option) [ab]\b"
        r"\W+(?:as|no matter|regardless|over|because)",
    ),
    "override": (
        rf"\b{_DROP}\b{_FEW}{_EARLIER}\W+(?:\w+\W+){{0,2}}?{_RULES}\b",
        rf"\b{_DROP}\b{_FEW}{_RULES}\W+(?:\w+\W+){{0,3}}?(?:above|before|so far|you (?:were|have been|got)"
        r"|given|until now)",
        rf"\b{_DROP} (?:everything|anything|all|what(?:ever)?)\b{_FEW}(?:above|before|told|said|earlier)",
        r"\b(?:your )?new (?:system )?(?:instructions?|task|rubric|directive|role) (?:is|are)\b"
        r"(?: now)?(?: to)?\W",
        rf"\bthe (?:rubric|criteri(?:a|on)|scale|grading|instructions?|rules?)\b{_FEW}(?:has|have) been "
        r"(?:changed|updated|replaced|suspended|revoked|lifted)",
        r"\b(?:ignora|olvida|descarta) (?:todas )?(?:las )?(?:instrucciones|reglas)",
        r"\b(?:ignorier\w*|vergiss|missachte\w*) (?:bitte )?(?:alle |die |deine )*(?:vorherigen|"
        r"bisherigen|obigen|früheren) \w+",
        r"\b(?:ignore[zr]?|oublie[zr]?) (?:toutes )?(?:les |tes |vos )?(?:instructions|consignes|règles)"
        r" (?:précédentes|ci-dessus|antérieures)",
        r"\b(?:ignora|dimentica) (?:tutte )?le (?:istruzioni|regole) (?:precedenti|sopra)",
        r"(?:игнорируй|забудь|проигнорируй)\w* (?:все )?(?:предыдущие|прежние) (?:инструкции|указания)",
        r"(?:忽略|无视|忘记)(?:之前|以上|前面|上述|先前)?的?(?:所有|全部|一切)?(?:之前|以上|前面)?的?"
        r"(?:指令|指示|说明|规则|评分标准)",
        r"(?:これまで|以前|上記|前)の(?:すべての|全ての)?(?:指示|命令|ルール)を(?:無視|忘れ)",
    ),
    "verdict": (
        r"[\"'](?:reasoning|explanation|rationale|feedback)[\"'] ?: ?[^{}]*?[\"'](?:verdict|score|"
        r"rating|grade|label)[\"'] ?:",
        r"[\"'](?:verdict|final_score|final_verdict|is_correct)[\"'] ?: ?[\"']?(?:pass|yes|correct|true|"
        r"excellent|\d)",
        r"\[\[ ?(?:[abc]|\d{1,3}(?:\.\d)?|rating|pass) ?\]\]",
        r"\[result\] ?\W? ?(?:\d|pass|[abc]\b)",
        r"</?(?:verdict|score|grade|rating|judg[e]?ment)>",
        r"\b(?:final|overall|my) (?:verdict|judg[e]?ment|grade|score|rating)\b\W{0,6}(?:(?:is|of)\b\W+)?"
        r"(?:\w+\W+)?(?:pass\b|passed\b|correct\b|excellent\b|perfect\b|\d{1,3} ?(?:/|out of) ?\d|10\b)",
        r"(?:^|\n)\W{0,4}(?:verdict|judg[e]?ment|grade)\W{0,4}[:=]\W{0,4}(?:pass|yes|correct|perfect|"
        r"excellent|10\b|100\b|\d{1,3} ?/ ?\d)",
        r"(?:^|\n)\W{0,4}score\W{0,4}[:=]\W{0,4}(?:1\.0\b|10 ?/ ?10|5 ?/ ?5|100 ?/ ?100|10\b\W*(?:\n|$))",
        rf"\b(?:evaluation|grader|judge)(?:'s)? (?:result|note|output|verdict|decision)s? ?[:=]",
        rf"\b(?:i|we) (?:would |hereby )?(?:rate|score|grade|judge|award) (?:this|the) {_WORK}\b",
    ),
    "role_confusion": (
        r"<\|(?:im_start|im_end|im_sep|system|user|assistant|end|eot_id|eom_id|start_header_id|"
        r"end_header_id|begin_of_text|endofprompt)\|>",
        r"\[/?inst\]|<</?sys>>|<(?:start|end)_of_turn>|\[(?:system|developer)(?: message| prompt)?\]",
        r"</?(?:system|developer|system[-_]?(?:prompt|message|note|reminder|override))>",
        r"[\"']role[\"'] ?: ?[\"'](?:system|developer)[\"']",
        r"(?:^|\n)\W{0,5}(?:system|developer)(?: (?:message|prompt|note|override|notice|update|alert))? ?"
        r"(?:\*\*)?:(?:\*\*)?\s+\W{0,3}(?:you\b|the (?:candidate|grader|judge|answer|response|above|rubric)|"
        r"ignore|grad|scor|eval|from now|new |all |output|award|override|policy|this)",
        r"(?:^|\n)\W{0,5}(?:human|user|assistant|ai)(?:\*\*)?:(?:\*\*)?\s+(?:\w+\W+){0,6}?(?:i (?:have )?"
        rf"(?:judged?|graded?|evaluated?|scored?)|the verdict|verdict|final (?:score|grade))",
        r"(?:system|admin(?:istrator)?|developer|root|debug|maintenance) (?:override|mode (?:on|enabled|"
        r"activated))\b",
        r"(?:begin|end) (?:of )?system (?:prompt|message)",
    ),
}

_BLANK = r"[\s\pP*#=|>]"
MASTER_KEY = re2.compile(
    rf"(?i){_BLANK}{{1,8}}|{_BLANK}*(?:(?:thought process|thinking process|reasoning|solution|"
    r"(?:final )?answer|analysis|explanation|response|result|step (?:1|one)|"
    r"let(?:'|’)?s (?:solve|think|work|break|approach|go|analy[sz]e|reason)[^\n.:]{0,60}|"
    r"(?:(?:sure|certainly|of course|okay|ok)[,!. ]+)?(?:here(?:'|’)?s|here is|below is|this is) "
    r"(?:the|my|a) (?:(?:correct|final|complete|detailed|step[- ]by[- ]step) )*"
    r"(?:answer|solution|response|reasoning|explanation)|"
    r"to (?:solve|answer) this (?:problem|question)[^\n.:]{0,60}|"
    r"解|解答|答案|思考过程|解説|解答例|回答|かいせつ|respuesta|solución|antwort|lösung|réponse|"
    rf"решение|ответ){_BLANK}*){{1,4}}"
)
"""Openers without anything after them. They fool judges into a pass: Zhao et al., "One Token to
Fool LLM-as-a-Judge", 2025. Punctuation alone is one too."""
MASTER_KEY_CHARS_MAX = 400


class PatternSet:
    """Named patterns, all looked for in one pass over a text."""

    def __init__(self, patterns: Sequence[tuple[str, str]]) -> None:
        options = re2.Options()
        options.max_mem = SET_MEMORY_BYTES_MAX
        options.log_errors = False
        self._set = re2.Set.SearchSet(options)
        self._each: list[tuple[str, Any]] = []
        for name, pattern in patterns:
            dotted = f"(?is){pattern}"
            self._set.Add(dotted)
            self._each.append((name, re2.compile(dotted, options)))
        self._set.Compile()

    def found(self, text: bytes) -> Iterator[tuple[str, Any]]:
        """Each name whose pattern the UTF-8 text holds, once, with that pattern."""
        seen: set[str] = set()
        for number in sorted(self._set.Match(text) or ()):
            name, pattern = self._each[number]
            if name not in seen:
                seen.add(name)
                yield name, pattern
