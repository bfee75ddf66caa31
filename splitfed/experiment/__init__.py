"""The conductor: trains under the tap, attacks, judges."""
