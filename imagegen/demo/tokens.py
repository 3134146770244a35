"""Who mints what in the demo, and what goes wrong."""

from dataclasses import dataclass

from imagegen.sandbox import Fault


@dataclass(frozen=True)
class Role:
    """One author with one token."""

    author: str
    prompt: str
    ends: str = "uploading"  # the token's status in the sandbox, when all is well


CENSORED = "A forbidden portrait of the emperor without his new clothes"
UNLUCKY = "A lighthouse that loses its way twice before it finds the sea"
INVALID = "A novel instead of a prompt. " * 40

CAST = (
    Role("ada", "An analytical engine made of brass and lace, morning light"),
    Role("basho", "An old pond; a frog jumps in; the sound of water"),
    Role("clara", "A piano that grows into a cherry tree"),
    Role("dante", "A staircase of fire that leads upwards, ink on gold"),
    Role("emmy", "Symmetry itself, as a cathedral of glass"),
    Role("frida", CENSORED),
    Role("galileo", "Four small moons around a sleeping giant"),
    Role("hokusai", "A wave made of mountains"),
    Role("ines", "A market in Lisbon after the rain, blue tiles 🐟🍋"),
    Role("jorge", "A library whose every book is about this library"),
    Role("kepler", 'Planets as "music", drawn with <ellipses> & five strings'),
    Role("leonora", "A horse made of moonlight enters the kitchen"),
    Role("mary", "A creature\nkind and lonely\nin the Arctic"),
    Role("nikola", "Lightning kept in a greenhouse"),
    Role("octavia", "Seeds that remember the stars"),
    Role("pablo", UNLUCKY),
    Role("quirin", INVALID, ends="failed"),
    Role("rosalind", "A double helix as a spiral garden"),
    Role("sappho", "An apple on the highest branch, forgotten by the pickers"),
    Role("turing", "A loom that dreams"),
)

# Of the real API's own messages.
FAULTS = (
    Fault.censors(CENSORED),
    Fault.fails(
        UNLUCKY, error="Director: unexpected error handling prediction (E6716)", times=2
    ),
)  # fmt: skip
