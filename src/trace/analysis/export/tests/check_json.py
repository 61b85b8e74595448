"""Compares a JSON document with a JSON schema.

    python check_json.py SCHEMA DOCUMENT
"""

import json
import sys

import jsonschema

with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
with open(sys.argv[2], encoding="utf-8") as file:
    document = json.load(file)
jsonschema.Draft202012Validator.check_schema(schema)
errors = sorted(jsonschema.Draft202012Validator(schema).iter_errors(document), key=str)
for error in errors[:10]:
    print(f"{error.json_path}: {error.message[:300]}", file=sys.stderr)
sys.exit(bool(errors))
