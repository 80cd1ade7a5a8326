#!/usr/bin/env python3
"""Writes crates/model/data/phone_time_zones.txt: which time zones a telephone number may be in, by its first digits.

The data is libphonenumber's, taken from its Python port; nothing else here needs Python. To renew it:

    python3 -m venv /tmp/phones && /tmp/phones/bin/pip install phonenumbers
    /tmp/phones/bin/python scripts/phone_time_zones.py > crates/model/data/phone_time_zones.txt
    cargo nextest run -p model recipient_zones

Where libphonenumber says that a kind of number tells no more than its country (mobile numbers, nearly everywhere), its own
look-up answers with all zones of the country. Here that is written into the table, so that the longest prefix is all that
has to be looked for.
"""

import itertools
import random
import sys

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberType, number_type
from phonenumbers.phonenumberutil import _GEO_MOBILE_COUNTRIES, COUNTRY_CODE_TO_REGION_CODE
from phonenumbers.tzdata import TIMEZONE_DATA

# Mobile ranges that tell the country by themselves, within a calling code that several countries share.
TELLING = {
    "77": "Kazakhstan has a part of Russia's code",
    "262": "Mayotte and Reunion have ranges of their own",
}

# Calling codes whose mobile numbers begin with the code of a town. Of Indonesia's, only few ranges of a network long gone do.
BY_TOWN = _GEO_MOBILE_COUNTRIES - {62}

# Zones that have had another name since.
RENAMED = {
    "America/Buenos_Aires": "America/Argentina/Buenos_Aires",
    "America/Catamarca": "America/Argentina/Catamarca",
    "America/Cordoba": "America/Argentina/Cordoba",
    "America/Godthab": "America/Nuuk",
    "America/Indianapolis": "America/Indiana/Indianapolis",
    "America/Jujuy": "America/Argentina/Jujuy",
    "America/Louisville": "America/Kentucky/Louisville",
    "America/Mendoza": "America/Argentina/Mendoza",
    "Asia/Calcutta": "Asia/Kolkata",
    "Asia/Choibalsan": "Asia/Ulaanbaatar",
    "Asia/Katmandu": "Asia/Kathmandu",
    "Asia/Rangoon": "Asia/Yangon",
    "Asia/Saigon": "Asia/Ho_Chi_Minh",
    "Atlantic/Faeroe": "Atlantic/Faroe",
    "Europe/Kiev": "Europe/Kyiv",
    "Pacific/Enderbury": "Pacific/Kanton",
    "Pacific/Ponape": "Pacific/Pohnpei",
    "Pacific/Truk": "Pacific/Chuuk",
}

# Zones of another country, taken for the hours that they had in common once: calling code, zone, and the country's own.
BORROWED = {("7", "Europe/Bucharest"): "Europe/Kaliningrad"}

HEADER = """\
# Which time zones a telephone number may be in, by its first digits: the longest prefix decides.
# A line: the zones, a space, the prefixes; `919-925` stands for every number of that length between the two.
#
# Derived from the time-zone prefixes of libphonenumber {version} by scripts/phone_time_zones.py; mobile ranges that tell no
# more than their country have all its zones.
# Copyright (C) 2011-2026 The Libphonenumber Authors. Licensed under the Apache License, Version 2.0:
# http://www.apache.org/licenses/LICENSE-2.0
"""


def proper(prefix, zone):
    own = next((own for (code, name), own in BORROWED.items() if prefix.startswith(code) and zone == name), zone)
    return RENAMED.get(own, own)


def zones_of(table, digits):
    return next((table[digits[:n]] for n in range(len(digits), 0, -1) if digits[:n] in table), None)


def kinds(code, start, lengths, draw):
    """The kinds of numbers that begin with these digits, by trying some."""
    found = set()
    for _, length in itertools.product(range(60), lengths):
        number = start + "".join(draw.choice("0123456789") for _ in range(length - len(start)))
        if not number.startswith("0"):
            found.add(number_type(PhoneNumber(country_code=code, national_number=int(number))))
    return found - {PhoneNumberType.UNKNOWN}


def mobile_ranges(table, code, draw):
    """The prefixes of at most three digits after the code behind which there are mobile numbers only."""
    lengths = set()
    for region in COUNTRY_CODE_TO_REGION_CODE[code]:
        lengths |= set(phonenumbers.PhoneMetadata.metadata_for_region(region).mobile.possible_length)
    ranges = []
    for n in (1, 2, 3):
        for start in ("".join(digits) for digits in itertools.product("0123456789", repeat=n)):
            known = any(start.startswith(shorter) for shorter in ranges)
            if not known and kinds(code, start, lengths, draw) == {PhoneNumberType.MOBILE}:
                ranges.append(start)
    return [f"{code}{start}" for start in ranges]


def widened(table):
    """The table, mobile ranges that tell no more than their country having all its zones."""
    draw = random.Random(0)
    for code in sorted(COUNTRY_CODE_TO_REGION_CODE):
        country = table.get(str(code), ())
        if len(country) < 2 or code in BY_TOWN or code == 1 or str(code) in TELLING:
            continue
        for start in mobile_ranges(table, code, draw):
            if any(start.startswith(telling) for telling in TELLING):
                continue
            for longer in [prefix for prefix in table if prefix.startswith(start)]:
                del table[longer]
            table[start] = country
    return table


def main():
    table = {
        prefix: tuple(sorted({proper(prefix, zone) for zone in zones}))
        for prefix, zones in TIMEZONE_DATA.items()
    }
    table = widened(table)
    # What a shorter prefix says already.
    table = {prefix: zones for prefix, zones in table.items() if zones_of(table, prefix[:-1]) != zones}
    lines = {}
    for prefix in sorted(table):
        lines.setdefault(table[prefix], []).append(prefix)
    sys.stdout.write(HEADER.format(version=phonenumbers.__version__))
    for zones, prefixes in sorted(lines.items()):
        # Runs of neighbours.
        runs = []
        for prefix in sorted(prefixes, key=lambda prefix: (len(prefix), prefix)):
            last = runs[-1] if runs else None
            if last and len(last[1]) == len(prefix) and int(last[1]) + 1 == int(prefix):
                last[1] = prefix
            else:
                runs.append([prefix, prefix])
        written = (first if first == last else f"{first}-{last}" for first, last in runs)
        print(",".join(zones), *written)


main()
