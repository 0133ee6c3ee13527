"""The console: pages for people, made of answers of the API, as the tenant who signed in."""
