"""The few MLS structures (RFC 9420) that a DAVE voice server makes and reads.

The server is an *external sender* (RFC 9420 §12.1.8.1): it is no member of the group and knows none of its secrets,
but it proposes who is added and removed, and its signature on a proposal is what members check. It reads commits only
as far as it must: which proposals they name, who sent them, and where the commit ends and the Welcome begins.

All variable-size vectors have the length prefix of RFC 9420 §2.1.2 (two top bits say 1, 2 or 4 bytes).
Ciphersuite: DHKEMP256 with AES-128-GCM, SHA-256 and ECDSA P-256 (`MLS_128_DHKEMP256_AES128GCM_SHA256_P256`).
"""

import hashlib
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

PROTOCOL_VERSION = 1
WIRE_FORMAT_PUBLIC = 1
CIPHERSUITE = 2
CREDENTIAL_BASIC = 1
SENDER_MEMBER, SENDER_EXTERNAL = 1, 2
CONTENT_PROPOSAL, CONTENT_COMMIT = 2, 3
PROPOSAL_ADD, PROPOSAL_REMOVE = 1, 3
BY_VALUE, BY_REFERENCE = 1, 2
SOURCE_KEY_PACKAGE, SOURCE_UPDATE, SOURCE_COMMIT = 1, 2, 3


class MalformedMls(Exception):
    """The bytes are not the MLS structure that was expected."""


def vector(data: bytes) -> bytes:
    """Return `data` behind its length prefix (RFC 9420 §2.1.2)."""
    if len(data) < 1 << 6:
        return bytes([len(data)]) + data
    if len(data) < 1 << 14:
        return struct.pack(">H", len(data) | 0x4000) + data
    return struct.pack(">I", len(data) | 0x8000_0000) + data


class Reader:
    """Reads MLS fields from the front of `data`; raises `MalformedMls` when it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.offset = 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        if count > len(self._data) - self.offset:
            raise MalformedMls(f"{count} bytes wanted at offset {self.offset} of {len(self._data)}")
        self.offset += count
        return self._data[self.offset - count : self.offset]

    def integer(self, size: int) -> int:
        """Return an unsigned big-endian integer of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def vector(self) -> bytes:
        """Return the contents of a variable-size vector."""
        first = self.integer(1)
        extra = {0: 0, 1: 1, 2: 3}.get(first >> 6)
        if extra is None:
            raise MalformedMls("a vector's length prefix has both top bits set")
        return self.take(int.from_bytes(bytes([first & 0x3F]) + self.take(extra), "big"))

    @property
    def rest(self) -> bytes:
        """What has not been read."""
        return self._data[self.offset :]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A signed proposal: the MLSMessage that members get, and the reference by which a commit names it."""

    message: bytes
    reference: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """What the server needs to know of a commit, and the Welcome that came behind it (empty: none)."""

    message: bytes
    group_id: bytes
    epoch: int
    sender_leaf: int
    references: tuple[bytes, ...]
    welcome: bytes


class ExternalSender:
    """The server's signing identity, and the proposals made with it."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    def package(self) -> bytes:
        """Return the `ExternalSender` struct (RFC 9420 §12.1.8.1) that op 25 carries."""
        point = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return vector(point) + struct.pack(">H", CREDENTIAL_BASIC) + vector(b"loopback-discord")

    def propose_add(self, group_id: bytes, epoch: int, key_package: bytes) -> Proposal:
        """Propose to add the owner of `key_package`."""
        return self._propose(group_id, epoch, struct.pack(">H", PROPOSAL_ADD) + key_package)

    def propose_remove(self, group_id: bytes, epoch: int, leaf: int) -> Proposal:
        """Propose to remove the member at `leaf`."""
        return self._propose(group_id, epoch, struct.pack(">HI", PROPOSAL_REMOVE, leaf))

    def _propose(self, group_id: bytes, epoch: int, body: bytes) -> Proposal:
        sender = struct.pack(">BI", SENDER_EXTERNAL, 0)
        content = vector(group_id) + struct.pack(">Q", epoch) + sender + vector(b"")
        content += bytes([CONTENT_PROPOSAL]) + body
        # An external sender's FramedContentTBS has no group context behind it (RFC 9420 §6.1).
        to_be_signed = struct.pack(">HH", PROTOCOL_VERSION, WIRE_FORMAT_PUBLIC) + content
        labelled = vector(b"MLS 1.0 FramedContentTBS") + vector(to_be_signed)
        signature = vector(self._key.sign(labelled, ec.ECDSA(SHA256())))
        # The reference is over the AuthenticatedContent (§5.2), which starts with the wire format alone.
        authenticated = struct.pack(">H", WIRE_FORMAT_PUBLIC) + content + signature
        reference = hashlib.sha256(vector(b"MLS 1.0 Proposal Reference") + vector(authenticated)).digest()
        return Proposal(to_be_signed + signature, reference)


def _skip_leaf_node(reader: Reader) -> tuple[int, bytes]:
    """Read a LeafNode (RFC 9420 §7.2); return its credential type and identity."""
    reader.vector()  # encryption key
    reader.vector()  # signature key
    credential = reader.integer(2)
    if credential != CREDENTIAL_BASIC:
        raise MalformedMls(f"credential type {credential} is not basic")
    identity = reader.vector()
    for _ in range(5):  # capabilities: versions, ciphersuites, extensions, proposals, credentials
        reader.vector()
    source = reader.integer(1)
    if source == SOURCE_KEY_PACKAGE:
        reader.take(16)  # lifetime: not before, not after
    elif source == SOURCE_COMMIT:
        reader.vector()  # parent hash
    elif source != SOURCE_UPDATE:
        raise MalformedMls(f"leaf node source {source} is unknown")
    reader.vector()  # extensions
    reader.vector()  # signature
    return credential, identity


def key_package_user(data: bytes) -> int:
    """Return the user id in a bare KeyPackage (RFC 9420 §10); DAVE's identity is the id as 8 bytes."""
    reader = Reader(data)
    version, ciphersuite = reader.integer(2), reader.integer(2)
    if (version, ciphersuite) != (PROTOCOL_VERSION, CIPHERSUITE):
        raise MalformedMls(f"a key package of version {version}, ciphersuite {ciphersuite}")
    reader.vector()  # init key
    _, identity = _skip_leaf_node(reader)
    reader.vector()  # extensions
    reader.vector()  # signature
    if reader.rest or len(identity) != 8:
        raise MalformedMls("bytes behind the key package, or an identity that is no user id")
    return int.from_bytes(identity, "big")


def parse_commit(data: bytes) -> Commit:
    """Split op 28 into its commit (a PublicMessage, RFC 9420 §6.2) and the Welcome behind it."""
    reader = Reader(data)
    if (reader.integer(2), reader.integer(2)) != (PROTOCOL_VERSION, WIRE_FORMAT_PUBLIC):
        raise MalformedMls("the commit is no PublicMessage of MLS 1.0")
    group_id, epoch = reader.vector(), reader.integer(8)
    if reader.integer(1) != SENDER_MEMBER:
        raise MalformedMls("the commit's sender is no member")
    sender_leaf = reader.integer(4)
    reader.vector()  # authenticated data
    if reader.integer(1) != CONTENT_COMMIT:
        raise MalformedMls("the message holds no commit")
    references = _references(Reader(reader.vector()))
    if reader.integer(1):  # optional<UpdatePath>
        _skip_leaf_node(reader)
        reader.vector()  # nodes
    reader.vector()  # signature
    reader.vector()  # confirmation tag
    reader.vector()  # membership tag
    return Commit(data[: reader.offset], group_id, epoch, sender_leaf, references, reader.rest)


def _references(reader: Reader) -> tuple[bytes, ...]:
    found = []
    while reader.rest:
        if reader.integer(1) != BY_REFERENCE:
            raise MalformedMls("the commit holds a proposal of its own")
        found.append(reader.vector())
    return tuple(found)
