"""Judges one answer and prints the verdict of each criterion.

Start a service first, with `bin/serve`, or set ASSAY_URL and ASSAY_API_KEY.
"""

from assay import Assay

with Assay() as client:
    result = client.evaluate(
        input="How do I reset my password?",
        output='Click "Forgot password" on the sign-in page; we mail you a link.',
        criteria=[
            "Polite.",
            {"type": "contains", "name": "names_the_link", "value": "Forgot password"},
        ],
    )

for criterion in result:
    print(f"{criterion.name}: {criterion.passed}, {criterion.explanation}")

# `passed` is None if a criterion has no score: that is neither a pass nor a failure.
if result.passed is None:
    print("not scored:", result.unscored)
else:
    print("passed" if result.passed else "failed", f"for {result.cost_usd:.4f} USD")
