"""What an auditor's pack says of itself, in plain words."""

from __future__ import annotations

from typing import Final

README: Final = """# Evidence of the runs of {definition}{whose}

From {since} to {until}: {runs} runs, with what ran inside them, told by {entries} entries of the log. Of the runs
{corrected} ended otherwise than they were first recorded. Of the entries {bent} do not have the hash that they were
recorded with; any number but 0 means that somebody altered the record.

It tells what was recorded up to position {position} of the log, whose last entry was recorded at {recorded_at}. It was
written by RunVis {version}. The same log gives the same pack, byte for byte.

## What is in it

| file | one line for each |
|---|---|
| `runs.jsonl` | run: all that is known of it, who said what about its end, and which rule decided its effective state |
| `entries.jsonl` | entry about these runs: its text, position, and hash as recorded and as computed for this pack |
| `corrections.jsonl` | correction: a run that is frozen as one thing and was told to be another |
| `completeness-of-runs.jsonl` | run: whether its record is whole, and if not, what is missing and why that is known |
| `erasures.jsonl` | part of an entry that was erased by a decision: which, by whose decision, and why |

`completeness.json` is the account of the definition, day by day. `checkpoint.txt` is the last signature over the whole
log, and each file in `proofs` shows of one run that its entries stand in the log that was signed. {proven}
`SHA256SUMS` has the digest of each file.

## How to read it

A run is one attempt, and ends once. The first word on its end froze it: that is its `state`, and nobody can change it.
`effective_state` is what counts by all that was said since. Where the two differ there is a correction, with its
witness and its place in the log. Times end in `_at`; `occurred_at` is the engine's clock, `recorded_at` that of the
store.

Inputs, messages and tracebacks are kept beside the log; an entry holds their digests only. What was erased is gone, and
says so in `erasures.jsonl`. The rest stands in `runs.jsonl`.

## How to check it

1. The files are as they were written: `sha256sum -c SHA256SUMS`.
2. The entries are what was hashed. The hash of an entry is SHA-256 over a zero byte and the bytes of its text:

   ```python
   import hashlib, json
   for line in open("entries.jsonl", encoding="utf-8"):
       entry = json.loads(line)
       assert hashlib.sha256(b"\\0" + entry["entry"].encode()).hexdigest() == entry["leaf_hash"], entry["position"]
   ```
3. What the runs say follows from the entries: each report names its position. Look it up in `entries.jsonl`.
4. The entries stand in the log that was signed: `runvis verify-proof proofs/RUN.json --key KEY`, with the log's public
   key, which you need to have from somewhere else than this pack. It needs no access to the log.
5. That the log shows you the same as others, and has no second history, a pack alone can't show: compare
   `checkpoint.txt` with a checkpoint that was kept elsewhere.
"""
