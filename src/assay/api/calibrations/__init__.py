"""/v1/calibrations and /v1/labels/draws: judges beside what people say."""
