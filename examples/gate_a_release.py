"""Judges the answers of a release as a batch, and fails if too few of them are good.

It prints what changed from the release before, and exits with 1 if the gate is not passed, or with
3 if that cannot be said. Run it in continuous integration.
"""

import sys

from assay import Assay
from assay.client import BatchHandle

QUESTIONS = {
    "reset": "How do I reset my password?",
    "refund": "Can I return an opened parcel?",
    "hours": "When do you open on Sunday?",
}
BEFORE = {
    "reset": "Use the link on the sign-in page.",
    "refund": "Yes, within 30 days.",
    "hours": "We open at ten.",
}
AFTER = {**BEFORE, "refund": "Ask someone else."}
CRITERIA = [
    "The answer is polite.",
    {"type": "contains", "name": "no_excuse", "value": "someone else", "negate": True},
]
GATES = [{"criterion": "no_excuse", "min_pass_rate": 0.9}]


def judge(client: Assay, name: str, answers: dict[str, str]) -> BatchHandle:
    rows = [{"id": id_, "input": QUESTIONS[id_], "output": text} for id_, text in answers.items()]
    batch = client.batches.create(CRITERIA, rows=rows, gates=GATES, name=name)
    return batch.wait(progress=True)


with Assay() as client:
    before, after = judge(client, "release 1", BEFORE), judge(client, "release 2", AFTER)
    for criterion in after.compare(before)["criteria"]:
        print(f"{criterion['name']}: {criterion['regressions']['total']} rows are worse")
    for result in after.results():
        for criterion in result:
            if criterion.passed is False:
                print(f"{result.item_id}, {criterion.name}: {criterion.explanation}")

sys.exit({True: 0, False: 1, None: 3}[after.passed])
