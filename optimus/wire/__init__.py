"""Messages between services, their encoding, and the interfaces of what carries them."""

from optimus.wire.codec import CodecError as CodecError
from optimus.wire.codec import pack as pack
from optimus.wire.codec import unpack as unpack
from optimus.wire.membership import ROLES as ROLES
from optimus.wire.membership import Head as Head
from optimus.wire.membership import Heartbeat as Heartbeat
from optimus.wire.membership import Member as Member
from optimus.wire.membership import View as View
from optimus.wire.messages import MAX_REQUEST_BYTES as MAX_REQUEST_BYTES
from optimus.wire.messages import MAX_SAMPLE_BYTES as MAX_SAMPLE_BYTES
from optimus.wire.messages import LossReply as LossReply
from optimus.wire.messages import LossRequest as LossRequest
from optimus.wire.messages import Sample as Sample
from optimus.wire.messages import Session as Session
from optimus.wire.messages import Version as Version
from optimus.wire.messages import check_sample as check_sample
from optimus.wire.messages import decode as decode
from optimus.wire.messages import encode as encode
from optimus.wire.protocols import LossPool as LossPool
from optimus.wire.protocols import LossUnavailable as LossUnavailable
from optimus.wire.protocols import NoWorkers as NoWorkers
from optimus.wire.protocols import ParameterSource as ParameterSource
from optimus.wire.protocols import SampleReader as SampleReader
from optimus.wire.protocols import SampleWriter as SampleWriter
from optimus.wire.protocols import Stopped as Stopped
