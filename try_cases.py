import json,sys
sys.path.insert(0,'/work/wt/reader/src')
from assay.domain.completion import Completion
from assay.domain.errors import ModelError
from assay.verdicts.reader import read_verdict, Protocol, members, from_members
from assay.verdicts.scales import *
PF=LabelScale(("pass","fail"),{"passes":"pass","passed":"pass","fails":"fail","failed":"fail"})
YN=LabelScale(("yes","no"))
FACT=LabelScale(("subset","superset","equal","disagree","immaterial"),dict(zip("ABCDE",("subset","superset","equal","disagree","immaterial"))))
PAIR=LabelScale(("a","b","tie"),{"draw":"tie","a tie":"tie"},("a","b"),"tie")
def scale(c):
    t=c['type']
    if t=='score' or t=='g_eval':
        lo,hi=c.get('min',0 if t=='score' else 1),c.get('max',1 if t=='score' else 5); i=c.get('integer'); 
        return NumberScale(lo,hi,hi-lo>=2 if i is None else i)
    if t=='rubric': return PF
    if t=='boolean': return YN
    if t=='label': return LabelScale(tuple(c['labels']))
    if t=='factuality': return FACT
    if t=='pairwise': return PAIR
def run(row):
    comp=Completion(row['judge_says'],'length' if row['finish']=='length' else 'stop','p','m')
    try:
        if row.get('comparison'):
            return {'a':'a','b':'b','tie':'tie'}[read_verdict(comp,PAIR).value], None
        c=row['criterion']
        if c['type']=='checklist':
            m=members(comp,['item_1','item_2'],'')
            for k in ('item_1','item_2'): from_members(m[k],YN)
            return 'scored',None
        r=read_verdict(comp,scale(c)); v=r.value
        if c['type']=='factuality': v={b:a for a,b in zip("ABCDE",FACT.labels)}[v]
        if c['type']=='pairwise': v={'a':'output','b':'other','tie':'tie'}[v]
        return v,r
    except (ModelError,KeyError) as e:
        return 'unscored',e
bad=0
for f in ['verdict-texts.json','verdict-forms.json']:
    for row in json.load(open('/work/shared/cases/'+f)):
        got,r=run(row)
        ok=any((abs(got-w)<1e-9 if isinstance(got,(int,float)) and isinstance(w,(int,float)) else got==w) for w in [row['want'],*row.get('also_right',[])])
        if not ok: bad+=1; print('MISS',row['id'],repr(row['judge_says'])[:110],'want',row['want'],'got',got,getattr(r,'method',r))
print('bad',bad)
