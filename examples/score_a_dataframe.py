"""Scores each row of a table and adds the verdicts as columns. It needs pandas."""

import pandas as pd

from assay import Assay

answers = pd.DataFrame(
    {
        "input": ["What is the capital of France?"] * 4,
        "output": ["Paris.", "Paris, of course!", "Lyon.", ""],
        "model": ["small", "large", "small", "large"],
    }
)
CRITERIA = [
    {"type": "contains", "name": "correct", "value": "Paris"},
    {"type": "word_count", "name": "short", "max": 5},
    "The answer is polite.",
]

with Assay() as client:
    # A column that is no field of a case, here `model`, goes along in the case's `fields`.
    results = list(client.evaluate_many(answers, CRITERIA, concurrency=8))

answers["score"] = [result.score for result in results]
answers["correct"] = [result["correct"].passed if not result.error else None for result in results]
answers["error"] = [result.error and result.error.code for result in results]
print(answers.to_string())
print(answers.groupby("model")["score"].mean())
