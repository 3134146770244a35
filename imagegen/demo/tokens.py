"""The tokens of the demo, and the faults of some of them."""

from dataclasses import dataclass

from imagegen.sandbox import Fault


@dataclass(frozen=True)
class DemoToken:
    """One author with one token."""

    author: str
    prompt: str
    ends: str = "uploading"  # the status that it gets with the sandbox, if all works


CENSORED = "A forbidden portrait of the emperor without his new clothes"
UNLUCKY = "A lighthouse that loses its way twice before it finds the sea"
INVALID = "A novel instead of a prompt. " * 40

DEMO_TOKENS = (
    DemoToken("ada", "An analytical engine made of brass and lace, morning light"),
    DemoToken("basho", "An old pond; a frog jumps in; the sound of water"),
    DemoToken("clara", "A piano that grows into a cherry tree"),
    DemoToken("dante", "A staircase of fire that leads upwards, ink on gold"),
    DemoToken("emmy", "Symmetry itself, as a cathedral of glass"),
    DemoToken("frida", CENSORED),
    DemoToken("galileo", "Four small moons around a sleeping giant"),
    DemoToken("hokusai", "A wave made of mountains"),
    DemoToken("ines", "A market in Lisbon after the rain, blue tiles 🐟🍋"),
    DemoToken("jorge", "A library whose every book is about this library"),
    DemoToken("kepler", 'Planets as "music", drawn with <ellipses> & five strings'),
    DemoToken("leonora", "A horse made of moonlight enters the kitchen"),
    DemoToken("mary", "A creature\nkind and lonely\nin the Arctic"),
    DemoToken("nikola", "Lightning kept in a greenhouse"),
    DemoToken("octavia", "Seeds that remember the stars"),
    DemoToken("pablo", UNLUCKY),
    DemoToken("quirin", INVALID, ends="failed"),
    DemoToken("rosalind", "A double helix as a spiral garden"),
    DemoToken("sappho", "An apple on the highest branch, forgotten by the pickers"),
    DemoToken("turing", "A loom that dreams"),
)

# The message is one of the real API's.
DIRECTOR_ERROR = "Director: unexpected error handling prediction (E6716)"
FAULTS = (Fault.censors(CENSORED), Fault.fails(UNLUCKY, error=DIRECTOR_ERROR, times=2))
