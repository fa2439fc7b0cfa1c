"""What runs inside a training job: a recorder and callbacks, and the file that they write.

# The file

`capture-0001.postmortem` in the run's directory; a restart writes the next number, nothing is ever written over. A file is text, one
record per line, only ever appended to:

    <8 hex digits> <JSON object>\\n

The digits are the CRC-32 of the JSON's bytes (UTF-8, no line feed in it). A record is handed to the operating system in one `write`, so
`kill -9` loses at most the one that is being written; a line whose checksum does not fit is left out by the reader and nothing else is.
Numbers that are not finite are the strings "nan", "inf" and "-inf".

Every object has `k`, its kind:

- `start`: `format` = "postmortem-capture/1", `time` (seconds since 1970), `every`, `versions`, `git` {commit, dirty}, `config`, `argv`, `gpus`.
- `config`: `config`, more of the configuration, and `framework` where one runs the training.
- `model`: `facts` of the watched model and optimizer: parameters, trainable parameters, groups, names of what no group holds.
- `resumed`: `s` the step that comes next, in a process that went on from a checkpoint.
- `steps`: `s` a list of steps, `t` their times, `v` {key: list of numbers or null} as the job named them, `e` epochs or absent.
- `data`: `s`, `split`, `v` {name: number} of one batch, `labels` {class: count}. Among the numbers `target_mean` and
  `target_std` of labels that are numbers, `fingerprint`, one for the batch's samples in whatever order, and, three times in a training,
  `label_relation` with its `_z` and `_samples` (see `relation.py`).
- `layers`: `s`, `what` (gradients, weights, updates, activations), `names`, `v` {statistic: list with null where it does not apply}, and `h`:
  per name [keys, counts], a histogram of all elements by the top 10 bits of float32 (sign, exponent, one bit of mantissa). `scale`, where it is
  there: the loss was multiplied by it, the elements that the histogram counted are so many times the gradient's; `v` is the gradient's own.
  Statistics of one parameter alone: `left`, the gradient that was there as a new one came, as a share of it; `missing`, its place where it got none.
- `event`: `kind` (exception, interrupted), `text`, `type`, `message`, `s`, `frame`, `batch` (statistics of the last batch).
- `end`: `status` (finished, failed), `s`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from postmortem.capture.recorder import Recorder as Recorder

__all__ = ["Recorder"]


def __getattr__(name: str) -> Any:
    if name == "Recorder":
        from postmortem.capture.recorder import Recorder

        return Recorder
    raise AttributeError(f"module 'postmortem.capture' has no attribute {name!r}")
