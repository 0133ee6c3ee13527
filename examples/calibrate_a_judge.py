"""Compares a judge with what people say of the same answers, and prints how far they agree."""

from assay import Assay

# Each answer, and whether two people find it polite.
ANSWERS = [
    ("Gladly: use the link on the sign-in page.", True, True),
    ("Read the manual.", False, False),
    ("You are welcome to return it within 30 days.", True, True),
    ("No.", False, False),
    ("As I said before, use the link.", False, True),
    ("Thank you for asking. We open at ten.", True, True),
    ("Find it yourself.", False, False),
    ("Please send us the number of your order.", True, True),
]
CRITERION = {"type": "rubric", "name": "polite", "rubric": "The answer is polite."}

with Assay() as client:
    rows = [{"id": f"answer-{n}", "output": text} for n, (text, *_) in enumerate(ANSWERS)]
    batch = client.batches.create(CRITERION, rows=rows).wait(progress=True)
    client.labels.add(
        {
            "item": {"batch": batch.id, "item_id": f"answer-{n}"},
            "criterion": "polite",
            "annotator": annotator,
            "passed": passed,
        }
        for n, (_, *verdicts) in enumerate(ANSWERS)
        for annotator, passed in zip(("mira", "jonas"), verdicts, strict=True)
    )
    report = client.calibrations.create(batch.id)

for criterion in report["criteria"]:
    print(f"{criterion['criterion']}: {criterion['labels']} labels")
    for found in criterion["reports"]:
        for name, figure in found["agreement"]["figures"].items():
            print(f"  {name}: {figure['value']}, between {figure['interval']}")
