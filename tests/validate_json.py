#!/usr/bin/python3
"""Validates the JSON documents of a folder against our JSON Schemas.

usage: validate_json.py FOLDER_OF_SCHEMAS FOLDER_OF_DOCUMENTS

Each *.json file holds one document, or one per line (JSON Lines). The field "schema" of a document names
its schema. Everything that a strict reader would trip over is an error: invalid UTF-8, a lone surrogate, a
key that occurs twice in an object, NaN, an unknown schema. So is a folder without documents, for it means that the tests
which should have written them didn't run.
"""

import json
import multiprocessing
import pathlib
import sys

import jsonschema


class Invalid(Exception):
    pass


def object_without_duplicates(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        keys = [key for key, _ in pairs]
        raise Invalid(f"duplicate keys: {sorted({key for key in keys if keys.count(key) > 1})}")
    return result


def no_constant(name):
    raise Invalid(f"{name} is not JSON")


def parse(text):
    document = json.loads(
        text, object_pairs_hook=object_without_duplicates, parse_constant=no_constant
    )
    try:
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise Invalid(f"an escape that is no character: {error}") from error
    return document


def load_schemas(folder):
    """The schemas by the value of "schema" in the documents that they are for."""
    validators = {}
    for path in sorted(folder.glob("*.schema.json")):
        schema = parse(path.read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator.check_schema(schema)
        validators[schema["properties"]["schema"]["const"]] = jsonschema.Draft202012Validator(
            schema
        )
    return validators


def load_documents(path):
    """Pairs of a document and where it stands."""
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"{path}: {error}") from error
    try:
        return [(str(path), parse(text))]
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Extra data"):
            raise Invalid(f"{path}: {error}") from error
    except Invalid as error:
        raise Invalid(f"{path}: {error}") from error
    documents = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line:
            continue
        try:
            documents.append((f"{path}:{number}", parse(line)))
        except (json.JSONDecodeError, Invalid) as error:
            raise Invalid(f"{path}:{number}: {error}") from error
    return documents


# The schema and the text of each frame that some document had: a schema says the same of all of its frames, and most
# have been seen before.
_known_frames = set()


def without_known_frames(document):
    """The document with the frames that none of its kind had before. A recursion has a hundred thousand equal ones."""
    threads = document.get("threads")
    for thread in threads if isinstance(threads, list) else []:
        frames = thread.get("frames") if isinstance(thread, dict) else None
        if isinstance(frames, list):
            texts = {(document["schema"], json.dumps(frame)): frame for frame in frames}
            new = {text: frame for text, frame in texts.items() if text not in _known_frames}
            _known_frames.update(new)
            thread["frames"] = list(new.values())
    return document


def problems_of(document, validators):
    if not isinstance(document, dict):
        yield "not an object"
        return
    name = document.get("schema")
    if not isinstance(name, str) or name not in validators:
        yield f"unknown schema {name!r}"
        return
    for error in validators[name].iter_errors(without_known_frames(document)):
        place = "/".join(map(str, error.absolute_path)) or "(top)"
        yield f"{place}: {error.message[:500]}"


def _use(validators):
    global _validators
    _validators = validators


def check(path):
    """How many documents a file holds, and what is wrong with them."""
    try:
        documents = load_documents(path)
    except Invalid as error:
        return 0, [str(error)]
    return len(documents), [
        f"{place}: {text}"
        for place, document in documents
        for text in problems_of(document, _validators)
    ]


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    validators = load_schemas(pathlib.Path(arguments[0]))
    if not validators:
        print(f"no schemas in {arguments[0]}", file=sys.stderr)
        return 1
    paths = sorted(pathlib.Path(arguments[1]).glob("*.json"))
    with multiprocessing.get_context("fork").Pool(initializer=_use, initargs=(validators,)) as pool:
        checked = pool.map(check, paths, chunksize=16)
    count = sum(documents for documents, _ in checked)
    problems = [problem for _, found in checked for problem in found]
    for problem in problems[:20]:
        print(problem, file=sys.stderr)
    print(f"{count} documents, {len(problems)} problems")
    if count == 0:
        print(f"no documents in {arguments[1]}", file=sys.stderr)
    return 1 if problems or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
