"""A demonstration without any model: written cases, and answers recorded beside them."""
