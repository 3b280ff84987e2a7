"""Every error a caller may catch.

KinestreamError
├── SettingError          a KINESTREAM_* variable is unknown or malformed
├── ContractError         something breaks docs/contract.md
│   ├── LayoutError       names, widths or counts that do not fit each other
│   ├── DecodeError       bytes that are no record of ours (carries the dead-letter reason)
│   ├── UnknownModelError a robot model nobody has described
│   ├── IngestError       a line of a robot's that the gateway cannot take (carries a reason and facts)
│   ├── ModelError        a description of a robot that is none, or cannot be one
│   └── RulesError        a rules file that cannot be applied
├── RecordingError        a file or folder that cannot be read as a recording
│   └── UndecidedError    it could be two things, and only a person knows which (carries the choices)
├── DeliveryError         the broker will not take what a robot sent
├── SpoolError            a robot's spool on disk cannot be used
│   └── SpoolFullError    it takes no more: its bound or the disk's
├── BrokerError           the broker cannot be started, reached or used
│   └── KafkaUnavailableError  this machine cannot get Apache Kafka: no network for its jars, or no Java
├── FencedError           another process announces for this partition now
├── RefusedError          a row or message that store or broker will never take as it is
├── StoreError            the store cannot be started, reached or used
│   └── StoreDeniedError  the store is there and refuses our account, or has not our database
└── StackError            the local stack cannot be started or stopped
"""

from __future__ import annotations

from kinestream.schemas.reasons import DeadLetterReason


class KinestreamError(Exception):
    """The base of all: its text says what was received, what is allowed and what to do."""


class SettingError(KinestreamError):
    """A KINESTREAM_* variable is unknown or malformed."""


class ContractError(KinestreamError):
    """Something breaks the contract."""


class LayoutError(ContractError):
    """Names, widths or counts that do not fit each other."""


class DecodeError(ContractError):
    """Bytes that are no record of ours; ``reason`` is the dead-letter reason."""

    def __init__(self, reason: DeadLetterReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class UnknownModelError(ContractError):
    """A robot model nobody has described."""


class IngestError(ContractError):
    """A line that the gateway cannot take; ``reason`` is one word for machines, ``facts`` go into the answer."""

    def __init__(self, reason: str, text: str, **facts: object) -> None:
        super().__init__(text)
        self.reason, self.facts = reason, facts


class ModelError(ContractError):
    """A description of a robot that is none, or says what no robot can be."""


class RulesError(ContractError):
    """A rules file that cannot be applied."""


class RecordingError(KinestreamError):
    """A file or folder that cannot be read as a recording."""


class UndecidedError(RecordingError):
    """A recording that could be two things: a person says which by ``option``, one of ``choices``.

    Where the choices are endless (a rate, names of columns) they are (), and ``suppose`` is one by which all that does
    not hang on it can be seen.
    """

    def __init__(self, text: str, option: str, choices: tuple[str, ...], suppose: object = None) -> None:
        super().__init__(text)
        self.option, self.choices, self.suppose = option, choices, suppose


class DeliveryError(KinestreamError):
    """The broker will not take what a robot sent."""


class SpoolError(KinestreamError):
    """A robot's spool on disk cannot be used."""


class SpoolFullError(SpoolError):
    """A robot's spool takes no more: it is at its bound, or its disk is."""


class BrokerError(KinestreamError):
    """The broker cannot be started, reached or used."""


class KafkaUnavailableError(BrokerError):
    """Apache Kafka cannot be had on this machine: no network for its jars, or no Java."""


class FencedError(KinestreamError):
    """Another process announces for this partition now: what is in memory of it is of no use."""


class RefusedError(KinestreamError):
    """A row or message that store or broker will never take as it is."""


class StoreError(KinestreamError):
    """The store cannot be started, reached or used."""


class StoreDeniedError(StoreError):
    """The store is there and refuses our account, or has not our database: waiting cures neither."""


class StackError(KinestreamError):
    """The local stack cannot be started or stopped."""
