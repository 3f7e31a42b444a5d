"""Addresses that the daemon forms itself: the former with the kernel, its files and the Shim6 endpoint."""

import logging
import random
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path

from mpcore.config import Config
from mpcore.errors import HostError
from mpcore.host.autoconf import KernelAutoconf
from mpcore.host.form_store import FormStore
from mpcore.host.formed import FormedAddresses
from mpcore.host.modifier_search import ModifierSearch
from mpcore.host.orphans import connected_sockets
from mpcore.host.prefix_watch import AddressChanged, Change, LinkChanged, PrefixHeard, PrefixWatch
from mpcore.host.sctp_sockets import sctp_pairs
from mpcore.host.solicit import RouterSolicitor
from mpcore.shim6.configured import form_prefixes_of
from mpcore.shim6.events import AddressFormed, AddressTaken, FormEvent, FormingFailed
from mpcore.shim6.formed_status import describe_formed
from mpcore.shim6.former import AddressFormer
from mpcore.shim6.forming import (
    DropAddress,
    ForgetAddress,
    FormSettings,
    PutAddress,
    SearchModifier,
    StoreUnit,
    UnstoreUnit,
)
from mpcore.shim6.identity import Identity
from mpcore.shim6.owned import Owned, identities_of
from mpcore.shim6.prefixes import format_prefix, prefix_of
from mpcore.shim6.settings import SECOND
from mpcore.shim6.snapshot import text_of
from mpcore.shim6_endpoint import Shim6Endpoint

TELL_NS = 600 * SECOND  # between two words in the log about a search

log = logging.getLogger(__name__)


class AddressUse:
    """Tells which addresses are in use: by contexts as ULIDs, connected TCP sockets, SCTP associations."""

    def __init__(self, ulids: Callable[[], Collection[bytes]], clock: Callable[[], int]) -> None:
        self._ulids = ulids
        self._clock = clock
        self._known: set[bytes] = set()
        self._read_ns: int | None = None

    def __call__(self, address: bytes) -> bool:
        """Tell it of one; the kernel's sockets are read once a second at most."""
        now = self._clock()
        if self._read_ns is None or now - self._read_ns >= SECOND:
            self._read_ns = now
            self._known = {each.local for each in connected_sockets()} | set(self._ulids())
            with suppress(HostError, OSError):
                self._known |= {pair.local for pair in sctp_pairs()}
        return address in self._known


class Shim6Forming:
    """Forms this host's addresses while it lives, and takes them back.

    Args:
        config: what to form, and where
        settings: the same as the former takes it
        endpoint: gets the identities
        files: addresses that come from elsewhere; those that have a key sign for the formed ones, and the
            other way round
        clock: the driver's, in nanoseconds
        kernel: assigns addresses
        autoconf: keeps the kernel from forming its own
        search: finds modifiers

    Raises:
        ConfigError: the configuration names a prefix that cannot be one
        HostError: the key cannot be used, or the kernel cannot be asked
    """

    def __init__(
        self,
        config: Config,
        settings: FormSettings,
        endpoint: Shim6Endpoint,
        files: Sequence[Owned],
        clock: Callable[[], int],
        kernel: FormedAddresses | None = None,
        autoconf: KernelAutoconf | None = None,
        search: ModifierSearch | None = None,
    ) -> None:
        options = config.shim6
        self._endpoint = endpoint
        self._files = files
        self._clock = clock
        self._kernel = kernel or FormedAddresses()
        self._autoconf = (autoconf or KernelAutoconf()) if options.form_alone else None
        self._store = FormStore(Path(options.form_directory) if options.form_directory else None)
        public_key, sign = self._store.key() if settings.kind.signs else (None, None)
        self.former = AddressFormer(
            settings,
            random.SystemRandom(),
            public_key=public_key,
            sign=sign,
            units=self._store.units(),
            in_use=AddressUse(endpoint.ulids_in_use, clock),
            now_ns=clock(),
        )
        for prefix, interface in form_prefixes_of(options):
            self.former.add_fixed(prefix, interface)
        self._chosen = frozenset(options.form_interfaces)
        self._excluded = frozenset(config.mptcp.exclude_interfaces)
        self._fixed = frozenset(entry.interface for entry in self.former.table)
        self._identities: dict[bytes, Identity] = {}
        self._is_full = False
        self._search = search or ModifierSearch(clock)
        self._told_ns = 0
        self._watch = PrefixWatch(self._concerns)
        self._solicitor = RouterSolicitor()

    # --- life

    def start(self) -> None:
        """Make the identities of earlier daemons known, and begin with the prefixes. Raises HostError."""
        self.work()
        self._take(self._watch.load())

    def close(self) -> None:
        """Take all formed addresses back."""
        for address, slot in self.former.slots.items():
            self._drop(DropAddress(address, slot.interface))
        if self._autoconf is not None:
            self._autoconf.restore()
        self._watch.close()
        self._solicitor.close()
        self._search.close()

    def filenos(self) -> list[int]:
        """Return the descriptors, readable when the kernel has news, or the search."""
        return [self._watch.fileno(), self._search.fileno()]

    def handle_ready(self) -> None:
        """Take the news. Raises HostError."""
        self._take(self._watch.read())
        self._take_found()

    def poll_timeout(self) -> int:
        """Return when `handle_timeout` is due."""
        others = (self._solicitor.poll_timeout(), self._search.poll_timeout())
        return min([self.former.poll_timeout(), *(due for due in others if due is not None)])

    def handle_timeout(self, now_ns: int) -> None:
        """Do what is due."""
        self._solicitor.handle_timeout(now_ns)
        self._search.handle_timeout(now_ns)
        if self.former.poll_timeout() <= now_ns:
            self.former.handle_timeout(now_ns)
        self.work()

    def renew(self) -> None:
        """Form other addresses for all prefixes."""
        self.former.renew(self._clock())
        self.work()

    def describe(self) -> list[dict[str, object]]:
        """Return what has become of the addresses, ready for JSON."""
        return describe_formed(self.former, self._clock())

    def work(self) -> None:
        """Carry out what the former wants, then tell the endpoint who this host is."""
        while (effect := self.former.poll_effect()) is not None:
            match effect:
                case PutAddress():
                    self._put(effect)
                case DropAddress():
                    self._drop(effect)
                case ForgetAddress(address):
                    self._identities.pop(address, None)
                    self._endpoint.forget_local_address(address, self._clock())
                case StoreUnit(number, parameters):
                    self._store.store(number, parameters)
                case UnstoreUnit(number):
                    self._store.unstore(number)
                case SearchModifier():
                    self._begin_search(effect)
        while (event := self.former.poll_event()) is not None:
            self._note(event)
        if self.former.take_changed():
            self._announce()

    # --- parts

    def _concerns(self, name: str) -> bool:
        if name in self._fixed:
            return True
        return name in self._chosen if self._chosen else name not in self._excluded

    def _take(self, changes: Collection[Change]) -> None:
        now = self._clock()
        for change in changes:
            match change:
                case PrefixHeard(prefix, interface, preferred_s, valid_s, early):
                    if not early:
                        self._solicitor.heard(interface)
                    self.former.handle_prefix(prefix, interface, preferred_s, valid_s, now)
                    self._warn_when_full(prefix, interface)
                case LinkChanged(interface, up):
                    (self._solicitor.begin if up else self._solicitor.heard)(interface)
                    self.former.handle_link(interface, up, now)
                case AddressChanged(address, interface, state):
                    self.former.handle_address(address, interface, state, now)
        self.work()

    def _begin_search(self, wanted: SearchModifier) -> None:
        log.info(
            "a modifier of Sec %d is searched: some %.1f million hashes in a process of its own",
            wanted.sec,
            (1 << 16 * wanted.sec) / 1e6,
        )
        self._told_ns = self._clock()
        self._search.begin(wanted)

    def _take_found(self) -> None:
        now = self._clock()
        for news in self._search.read():
            if news.modifier is not None:
                log.info("a modifier is found after %.1f million hashes", news.hashes / 1e6)
                self.former.handle_modifier(news.number, news.modifier, now)
                continue
            self.former.handle_progress(news.number, news.hashes)
            if now - self._told_ns >= TELL_NS:
                self._told_ns = now
                log.info("a modifier is searched: %.0f million hashes so far", news.hashes / 1e6)
        self.work()

    def _warn_when_full(self, prefix: bytes, interface: str) -> None:
        """Say once that there are more prefixes than may be."""
        if self.former.table.refused and not self._is_full:
            self._is_full = True
            log.warning(
                "%s on %s and further prefixes are left alone: shim6.form_max_prefixes is %d",
                format_prefix(prefix),
                interface,
                len(self.former.table),
            )

    def _put(self, wanted: PutAddress) -> None:
        try:
            self._kernel.put(wanted)
        except HostError as error:
            log.warning("%s", error)
            self.former.handle_refused(wanted.address)

    def _drop(self, unwanted: DropAddress) -> None:
        try:
            self._kernel.drop(unwanted)
        except HostError as error:
            log.warning("%s", error)

    def _note(self, event: FormEvent) -> None:
        match event:
            case AddressFormed(address, interface) if self._autoconf is not None:
                self._autoconf.stand_back(prefix_of(address), interface)
            case AddressTaken(address, interface, collisions):
                log.warning(
                    "%s on %s is another host's (collision %d)", text_of(address), interface, collisions + 1
                )
            case FormingFailed(prefix, interface, reason):
                log.error("no address for %s on %s: %s", prefix, interface, reason)
        self._endpoint.note_forming(event)

    def _announce(self) -> None:
        """Give the endpoint the identities that are new or have changed."""
        announced = [address for one in self._files for address in one.addresses] + self.former.announced()
        for identity in identities_of([*self._files, *self.former.owned()], announced):
            if self._identities.get(identity.ulid) != identity:
                self._identities[identity.ulid] = identity
                self._endpoint.set_identity(identity, self._clock())
