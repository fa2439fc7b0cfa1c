"""The short list of calls that the interpreter understands, carried out on records.

Each function takes the positional arguments that the pickle gives and returns a record, or `NotImplemented` when they do not
fit; nothing here allocates by a number from the pickle. The names are those that torch and numpy have used since 2016.
"""

from collections.abc import Callable, Mapping
from typing import Any

from postmortem.sources.pickles.rebuild_numpy import Args, array, dtype, frombuffer, scalar, sizes
from postmortem.sources.pickles.records import Array, Named, OddKey, Record, Storage, Tensor

# torch's storage classes and numpy's (or torch's) name of what they hold.
STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16", "LongStorage": "int64",
    "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128", "QInt8Storage": "int8", "QUInt8Storage": "uint8",
    "QInt32Storage": "int32", "QUInt4x2Storage": "uint8", "QUInt2x4Storage": "uint8", "UntypedStorage": "uint8",
}  # fmt: skip
ITEM_SIZES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "uint16": 2,
    "uint32": 4, "uint64": 8, "bool": 1, "complex32": 4, "complex64": 8, "complex128": 16, "float8_e4m3fn": 1, "float8_e5m2": 1,
    "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1, "float4_e2m1fn_x2": 1,
}  # fmt: skip
_TORCH_ALIASES = {
    "float": "float32", "double": "float64", "half": "float16", "long": "int64", "int": "int32", "short": "int16", "cfloat": "complex64",
    "cdouble": "complex128", "chalf": "complex32", "qint8": "int8", "quint8": "uint8", "qint32": "int32",
}  # fmt: skip
Rebuild = Callable[[Args], Any]


def torch_dtype(value: object) -> str:
    """The dtype that a record names (`torch.float16`), "" when it names none."""
    if isinstance(value, Named) and value.module == "torch":
        name = _TORCH_ALIASES.get(value.name, value.name)
        return name if name in ITEM_SIZES else ""
    return ""


def storage_of(pid: object) -> Storage | None:
    """The storage that a persistent id stands for: `("storage", type, key, location, elements[, view])`."""
    if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage" or not isinstance(pid[1], Named):
        return None
    dtype, key, count = STORAGES.get(pid[1].name), pid[2], pid[4]
    if dtype is None or not isinstance(key, str | int) or type(count) is not int or not 0 <= count < 1 << 62:
        return None
    view = None
    if len(pid) > 5 and isinstance(pid[5], tuple) and len(pid[5]) == 3:
        start, length = pid[5][1], pid[5][2]
        if type(start) is int and type(length) is int and 0 <= start < 1 << 62 and 0 <= length < 1 << 62:
            view = (start, length)
    return Storage(str(key), dtype, count, view=view)


def _tensor(args: Args) -> Any:
    """`_rebuild_tensor(storage, offset, size, stride)`, and v2, v3 and qtensor, which add to it."""
    storage, offset = args[0], args[1]
    shape, strides = sizes(args[2]), sizes(args[3])
    if not isinstance(storage, Storage) or type(offset) is not int or shape is None or strides is None:
        return NotImplemented
    return Tensor(storage, storage.dtype, offset, shape, strides)


def _tensor_v2(args: Args) -> Any:
    tensor = _tensor(args)
    if isinstance(tensor, Tensor) and len(args) > 4 and isinstance(args[4], bool):
        tensor.requires_grad = args[4]
    return tensor


def _tensor_v3(args: Args) -> Any:
    tensor, dtype = _tensor_v2(args), torch_dtype(args[6])
    if not isinstance(tensor, Tensor) or not dtype:
        return NotImplemented
    tensor.dtype = dtype
    return tensor


def _qtensor(args: Args) -> Any:
    tensor = _tensor(args)
    if isinstance(tensor, Tensor) and isinstance(args[5], bool):
        tensor.requires_grad = args[5]
    return tensor


def _parameter(args: Args) -> Any:
    """`_rebuild_parameter(data, requires_grad, hooks)`; a parameter shares its data's bytes."""
    data, requires_grad = args[0], args[1]
    if not isinstance(data, Tensor) or not isinstance(requires_grad, bool):
        return NotImplemented
    return Tensor(data.storage, data.dtype, data.offset, data.shape, data.strides, requires_grad=requires_grad, is_parameter=True)


def _from_type(args: Args) -> Any:
    """`_rebuild_from_type_v2(func, type, args, state)`: a tensor subclass, or one with attributes."""
    for _ in range(4):
        func, kind, inner = args[0], args[1], args[2]
        if not isinstance(func, Named) or not isinstance(inner, tuple):
            return NotImplemented
        if func.full not in ("torch._tensor._rebuild_from_type_v2", "torch._tensor._rebuild_from_type"):
            rebuild = REBUILD.get(func.full)
            tensor = rebuild(inner) if rebuild and rebuild is not _from_type else NotImplemented
            state = args[3] if len(args) > 3 else None
            state = state[1] if isinstance(state, tuple) and len(state) == 2 else state  # (attributes, slots)
            if func.full == "torch._utils._rebuild_wrapper_subclass":
                return _share(inner, state)
            if isinstance(tensor, Tensor) and isinstance(kind, Named) and kind.name.endswith("Parameter"):
                tensor.is_parameter = True
            return tensor
        args = inner
    return NotImplemented


def _share(args: Args, state: object) -> Any:
    """What this rank has of a `DTensor` (attributes) or of a `ShardedTensor` (its local shards, of which there is one, and metadata)."""
    tensor = state.get("_local_tensor") if isinstance(state, dict) else None
    if isinstance(state, tuple) and state and isinstance(state[0], list) and len(state[0]) == 1:
        shard = state[0][0].state
        tensor = shard[1].get("tensor") if isinstance(shard, tuple) else shard.get("tensor")
    if not isinstance(tensor, Tensor):
        return NotImplemented
    tensor.whole = sizes(args[2]) or ()
    return tensor


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [0] * len(shape), 1
    for i in range(len(shape) - 1, -1, -1):
        strides[i] = step
        step *= max(shape[i], 1)
    return tuple(strides)


def _from_numpy(args: Args) -> Any:
    """`_rebuild_device_tensor_from_numpy(array, dtype, device, requires_grad)`."""
    array, dtype = args[0], torch_dtype(args[1])
    if not isinstance(array, Array) or not array.data or array.fortran or not dtype:
        return NotImplemented
    tensor = Tensor(array, array.dtype, 0, array.shape, _contiguous(array.shape))
    tensor.requires_grad = args[3] if isinstance(args[3], bool) else None
    return tensor


def _from_cpu(args: Args) -> Any:
    """`_rebuild_device_tensor_from_cpu_tensor(tensor, dtype, device, requires_grad)`."""
    tensor = args[0]
    if not isinstance(tensor, Tensor):
        return NotImplemented
    tensor.requires_grad = args[3] if isinstance(args[3], bool) else None
    return tensor


def _no_storage(args: Args) -> Any:
    """`_rebuild_meta_tensor_no_storage(dtype, size, stride, requires_grad)`: shape without bytes."""
    dtype, shape, strides = torch_dtype(args[0]), sizes(args[1]), sizes(args[2])
    if not dtype or shape is None or strides is None:
        return NotImplemented
    return Tensor(None, dtype, 0, shape, strides, requires_grad=args[3] if isinstance(args[3], bool) else None)


def _storage_from_bytes(args: Args) -> Any:
    """`torch.storage._load_from_bytes(blob)`: what `pickle.dump(tensor)` writes; the blob is a saved storage."""
    return Storage("", "", -1, blob=args[0]) if isinstance(args[0], bytes) else NotImplemented


def _typed_storage(args: Args) -> Any:
    return args[0] if args and isinstance(args[0], Storage) else NotImplemented


def _size(args: Args) -> Any:
    shape = sizes(args[0]) if args else ()
    return NotImplemented if shape is None else shape


def _first(args: Args) -> Any:
    """Calls that give back what they were given: `torch.device("cpu")`, a layout, a dtype by name."""
    return args[0] if isinstance(args[0], str) else NotImplemented


def _mapping(args: Args) -> Any:
    """`OrderedDict()`, `dict({…})`; lists of pairs are charged for by the machine."""
    if not args:
        return {}
    if isinstance(args[0], dict) and len(args) == 1:
        return args[0]
    if not isinstance(args[0], list | tuple) or not all(isinstance(p, list | tuple) and len(p) == 2 for p in args[0]):
        return NotImplemented
    return {k if is_key(k) else OddKey(k): v for k, v in args[0]}


def _default_mapping(args: Args) -> Any:
    return {} if len(args) < 2 else _mapping(args[1:])


def is_key(key: object) -> bool:
    """True for what may be a dict key as it is: scalars whose hash neither recurses nor can be made to collide."""
    kind = type(key)
    return kind is str or kind is float or kind is bool or key is None or kind is bytes or (kind is int and -(1 << 60) < key < 1 << 60)  # type: ignore[operator]


def _complex(args: Args) -> Any:
    real, imaginary = args
    return complex(real, imaginary) if isinstance(real, int | float) and isinstance(imaginary, int | float) else NotImplemented


def _path(args: Args) -> Any:
    """Paths become their text."""
    parts = [a for a in args if isinstance(a, str)]
    whole = len(parts) == len(args) < 200 and sum(map(len, parts)) < 5000
    return "/".join(parts).replace("//", "/") if whole else NotImplemented


def _set(args: Args) -> Any:
    record = Record(SET)
    record.items = args[0] if args and isinstance(args[0], list) else list(args[0]) if args and isinstance(args[0], tuple) else []
    return record


SET = Named("builtins", "set")

REBUILD: Mapping[str, Rebuild] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor_v2,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_qtensor": _qtensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_device_tensor_from_numpy": _from_numpy,
    "torch._utils._rebuild_xla_tensor": _from_numpy,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _from_cpu,
    "torch._utils._rebuild_meta_tensor_no_storage": _no_storage,
    "torch._tensor._rebuild_from_type": _from_type,
    "torch._tensor._rebuild_from_type_v2": _from_type,
    "torch.storage._load_from_bytes": _storage_from_bytes,
    "torch.storage.TypedStorage": _typed_storage,
    "torch.Size": _size,
    "torch.device": _first,
    "torch.serialization._get_layout": _first,
    "collections.OrderedDict": _mapping,
    "builtins.dict": _mapping,
    "collections.Counter": _mapping,
    "collections.defaultdict": _default_mapping,
    "numpy.dtype": dtype,
    "numpy.core.multiarray._reconstruct": array,
    "numpy._core.multiarray._reconstruct": array,
    "numpy.core.numeric._frombuffer": frombuffer,
    "numpy._core.numeric._frombuffer": frombuffer,
    "numpy.core.multiarray.scalar": scalar,
    "numpy._core.multiarray.scalar": scalar,
    "builtins.complex": _complex,
    "builtins.set": _set,
    "builtins.frozenset": _set,
    "pathlib.PosixPath": _path,
    "pathlib.WindowsPath": _path,
    "pathlib.Path": _path,
    "pathlib.PurePosixPath": _path,
    "pathlib.PureWindowsPath": _path,
    "pathlib._local.PosixPath": _path,
    "pathlib._local.WindowsPath": _path,
}
