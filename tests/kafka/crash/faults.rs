//! The faults of a siege, drawn from a seed alone.

use std::time::Duration;

/// Programs of the shop, two producers, then two consumers.
pub(super) const PROGRAMS: usize = 4;

/// Nodes of the cluster.
const NODES: usize = 3;

/// One thing that goes wrong, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// SIGKILL, and how long until it is started again.
    KillProgram(usize, Duration),
    /// SIGSTOP until SIGCONT.
    StopProgram(usize, Duration),
    /// SIGKILL of a broker, which leads partitions and coordinates groups.
    KillNode(usize, Duration),
    /// SIGSTOP of a broker: connections stay open, nothing is answered.
    PauseNode(usize, Duration),
    /// SIGTERM of each broker, one after the other.
    RollNodes,
    /// The clients may send and read so many bytes a second from each broker.
    Quota(u32, Duration),
}

impl Fault {
    /// Its kind, for people.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::KillProgram(program, _) if program < 2 => "producer killed",
            Self::KillProgram(..) => "consumer killed",
            Self::StopProgram(..) => "program stopped (SIGSTOP)",
            Self::KillNode(..) => "node killed",
            Self::PauseNode(..) => "node paused (SIGSTOP)",
            Self::RollNodes => "rolling restart",
            Self::Quota(..) => "quota",
        }
    }
}

/// Whom a schedule is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum About {
    /// Programs, of which these may be killed.
    Programs([bool; PROGRAMS]),
    Nodes,
}

/// Faults without an end, each with the pause before it. A seed gives the same ones always; when exactly they come is the
/// machine's affair.
pub(super) struct Schedule {
    chance: fastrand::Rng,
    about: About,
    /// Milliseconds between two.
    gap: std::ops::Range<u64>,
}

impl Schedule {
    pub(super) fn new(seed: u64, about: About, gap: std::ops::Range<u64>) -> Self {
        let own = matches!(about, About::Nodes);
        Self { chance: fastrand::Rng::with_seed(seed * 2 + u64::from(own)), about, gap }
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.chance.u64(range))
    }

    fn of_program(&mut self, mortal: [bool; PROGRAMS]) -> Fault {
        let program = self.chance.usize(0..PROGRAMS);
        let dies = self.chance.u8(0..3) > 0 && mortal[program];
        // A session is six seconds: some are over when the program wakes.
        let (away, pause) = (self.millis(0..1_500), self.millis(200..8_000));
        if dies { Fault::KillProgram(program, away) } else { Fault::StopProgram(program, pause) }
    }

    fn of_node(&mut self) -> Fault {
        let node = self.chance.usize(1..=NODES);
        match self.chance.u8(0..10) {
            0..4 => Fault::KillNode(node, self.millis(500..6_000)),
            4..7 => Fault::PauseNode(node, self.millis(500..9_000)),
            7 => Fault::RollNodes,
            _ => Fault::Quota(self.chance.u32(50_000..400_000), self.millis(2_000..5_000)),
        }
    }
}

impl Iterator for Schedule {
    type Item = (Duration, Fault);

    fn next(&mut self) -> Option<Self::Item> {
        let gap = self.gap.clone();
        let fault = match self.about {
            About::Programs(mortal) => self.of_program(mortal),
            About::Nodes => self.of_node(),
        };
        Some((self.millis(gap), fault))
    }
}
