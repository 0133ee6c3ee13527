"""OpenAI's Evals and graders API over evaluators, datasets and batches."""
