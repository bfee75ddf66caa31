from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PHASE_UNSPECIFIED: _ClassVar[Phase]
    TRAIN: _ClassVar[Phase]
    TEST: _ClassVar[Phase]
    AUDIT: _ClassVar[Phase]

class Codec(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CODEC_UNSPECIFIED: _ClassVar[Codec]
    FLOAT32: _ClassVar[Codec]
    FLOAT16: _ClassVar[Codec]
    BFLOAT16: _ClassVar[Codec]
    INT8: _ClassVar[Codec]
    SPARSE: _ClassVar[Codec]
PHASE_UNSPECIFIED: Phase
TRAIN: Phase
TEST: Phase
AUDIT: Phase
CODEC_UNSPECIFIED: Codec
FLOAT32: Codec
FLOAT16: Codec
BFLOAT16: Codec
INT8: Codec
SPARSE: Codec

class ClientFrame(_message.Message):
    __slots__ = ("hello", "forward", "done", "backward", "data", "checksum")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    FORWARD_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    BACKWARD_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    forward: Forward
    done: Done
    backward: Backward
    data: bytes
    checksum: int
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., forward: _Optional[_Union[Forward, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., backward: _Optional[_Union[Backward, _Mapping]] = ..., data: _Optional[bytes] = ..., checksum: _Optional[int] = ...) -> None: ...

class ServerFrame(_message.Message):
    __slots__ = ("accept", "gradient", "refusal", "finished", "features", "data", "checksum")
    ACCEPT_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    accept: Accept
    gradient: Gradient
    refusal: Refusal
    finished: Finished
    features: Features
    data: bytes
    checksum: int
    def __init__(self, accept: _Optional[_Union[Accept, _Mapping]] = ..., gradient: _Optional[_Union[Gradient, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, _Mapping]] = ..., finished: _Optional[_Union[Finished, _Mapping]] = ..., features: _Optional[_Union[Features, _Mapping]] = ..., data: _Optional[bytes] = ..., checksum: _Optional[int] = ...) -> None: ...

class Claim(_message.Message):
    __slots__ = ("run", "client", "stream", "number")
    RUN_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    run: str
    client: int
    stream: bytes
    number: int
    def __init__(self, run: _Optional[str] = ..., client: _Optional[int] = ..., stream: _Optional[bytes] = ..., number: _Optional[int] = ...) -> None: ...

class Proof(_message.Message):
    __slots__ = ("claim", "mac")
    CLAIM_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    claim: bytes
    mac: bytes
    def __init__(self, claim: _Optional[bytes] = ..., mac: _Optional[bytes] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("run", "round", "client", "phase", "shape", "codec", "next_step", "stream", "keeps_labels")
    RUN_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    KEEPS_LABELS_FIELD_NUMBER: _ClassVar[int]
    run: str
    round: int
    client: int
    phase: Phase
    shape: _containers.RepeatedScalarFieldContainer[int]
    codec: Codec
    next_step: int
    stream: bytes
    keeps_labels: bool
    def __init__(self, run: _Optional[str] = ..., round: _Optional[int] = ..., client: _Optional[int] = ..., phase: _Optional[_Union[Phase, str]] = ..., shape: _Optional[_Iterable[int]] = ..., codec: _Optional[_Union[Codec, str]] = ..., next_step: _Optional[int] = ..., stream: _Optional[bytes] = ..., keeps_labels: _Optional[bool] = ...) -> None: ...

class Accept(_message.Message):
    __slots__ = ("next_step",)
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    next_step: int
    def __init__(self, next_step: _Optional[int] = ...) -> None: ...

class Tensor(_message.Message):
    __slots__ = ("shape", "codec", "scale", "zero_point")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    ZERO_POINT_FIELD_NUMBER: _ClassVar[int]
    shape: _containers.RepeatedScalarFieldContainer[int]
    codec: Codec
    scale: float
    zero_point: int
    def __init__(self, shape: _Optional[_Iterable[int]] = ..., codec: _Optional[_Union[Codec, str]] = ..., scale: _Optional[float] = ..., zero_point: _Optional[int] = ...) -> None: ...

class Forward(_message.Message):
    __slots__ = ("step", "labels", "tensor")
    STEP_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    step: int
    labels: _containers.RepeatedScalarFieldContainer[int]
    tensor: Tensor
    def __init__(self, step: _Optional[int] = ..., labels: _Optional[_Iterable[int]] = ..., tensor: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class Features(_message.Message):
    __slots__ = ("step", "tensor")
    STEP_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    step: int
    tensor: Tensor
    def __init__(self, step: _Optional[int] = ..., tensor: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class Backward(_message.Message):
    __slots__ = ("step", "tensor")
    STEP_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    step: int
    tensor: Tensor
    def __init__(self, step: _Optional[int] = ..., tensor: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class Gradient(_message.Message):
    __slots__ = ("step", "loss", "correct", "tensor")
    STEP_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    CORRECT_FIELD_NUMBER: _ClassVar[int]
    TENSOR_FIELD_NUMBER: _ClassVar[int]
    step: int
    loss: float
    correct: int
    tensor: Tensor
    def __init__(self, step: _Optional[int] = ..., loss: _Optional[float] = ..., correct: _Optional[int] = ..., tensor: _Optional[_Union[Tensor, _Mapping]] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ("steps", "examples")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    steps: int
    examples: int
    def __init__(self, steps: _Optional[int] = ..., examples: _Optional[int] = ...) -> None: ...

class Finished(_message.Message):
    __slots__ = ("steps", "examples")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    steps: int
    examples: int
    def __init__(self, steps: _Optional[int] = ..., examples: _Optional[int] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("reason", "message")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[Refusal.Reason]
        BAD_TOKEN: _ClassVar[Refusal.Reason]
        UNKNOWN_RUN: _ClassVar[Refusal.Reason]
        STALE_ROUND: _ClassVar[Refusal.Reason]
        UNKNOWN_CLIENT: _ClassVar[Refusal.Reason]
        WRONG_SHAPE: _ClassVar[Refusal.Reason]
        OVERSIZED: _ClassVar[Refusal.Reason]
        GARBLED: _ClassVar[Refusal.Reason]
        NOT_FINITE: _ClassVar[Refusal.Reason]
        OUT_OF_ORDER: _ClassVar[Refusal.Reason]
        UNKNOWN_CODEC: _ClassVar[Refusal.Reason]
        WRONG_CODEC: _ClassVar[Refusal.Reason]
        BAD_LABELS: _ClassVar[Refusal.Reason]
        TOO_MANY_STREAMS: _ClassVar[Refusal.Reason]
        SUPERSEDED: _ClassVar[Refusal.Reason]
        INTERNAL: _ClassVar[Refusal.Reason]
        REPLAYED: _ClassVar[Refusal.Reason]
        CORRUPTED: _ClassVar[Refusal.Reason]
    REASON_UNSPECIFIED: Refusal.Reason
    BAD_TOKEN: Refusal.Reason
    UNKNOWN_RUN: Refusal.Reason
    STALE_ROUND: Refusal.Reason
    UNKNOWN_CLIENT: Refusal.Reason
    WRONG_SHAPE: Refusal.Reason
    OVERSIZED: Refusal.Reason
    GARBLED: Refusal.Reason
    NOT_FINITE: Refusal.Reason
    OUT_OF_ORDER: Refusal.Reason
    UNKNOWN_CODEC: Refusal.Reason
    WRONG_CODEC: Refusal.Reason
    BAD_LABELS: Refusal.Reason
    TOO_MANY_STREAMS: Refusal.Reason
    SUPERSEDED: Refusal.Reason
    INTERNAL: Refusal.Reason
    REPLAYED: Refusal.Reason
    CORRUPTED: Refusal.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: Refusal.Reason
    message: str
    def __init__(self, reason: _Optional[_Union[Refusal.Reason, str]] = ..., message: _Optional[str] = ...) -> None: ...
