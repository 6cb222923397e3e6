//! The task that drives one membership: it carries out what the machine asks for.
//!
//! Nothing here waits for anything but the next event, so heartbeats go on whatever the application does.
//!
//! ```text
//!   Membership (handle) --- Began, Released, TooSlow, Back, Leave ---> +---------+ --- Event --> +--------+
//!        ^                                                             | Session |               | Member |
//!        +------- Assigned, Revoked, Lost, Joined, ... <-- News ------ +---------+ <-- Effect -- +--------+
//!   commits <------- Authority <--------------------------------------- |  ^  |  ^
//!                                          requests on two connections -+  |  +--+ metadata, time
//! ```

mod gate;
mod metadata;
mod plan;
mod reach;
mod requests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use self::gate::Admit;
use self::gate::Gate;
use self::metadata::Watched;
use self::reach::{Reach, Told};
use super::classic::Classic;
use super::complaint::Complaint;
use super::configured::{Configured, Protocol};
use super::member::{Commits, Credentials, Effect, Event, Incarnation, Member, Now, Partitions, Settings};
use super::message::Call;
use super::next_generation::NextGeneration;
use crate::Error;
use crate::cluster::GroupCoordinator;
use crate::flight::{Files, Recorder, Witness};

/// How much either side may have said that the other has not heard. Each assignment takes a round trip to the coordinator
/// and a wait, so an application that is so far behind has stopped.
const UNHEARD: usize = 1024;

/// How long a session whose application is gone tries to say farewell, so that the others need not wait for its session
/// to end. Nobody waits for it.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the application is told, in this order.
#[derive(Debug)]
pub(crate) enum News {
    /// The member is in the group, with or without partitions.
    Joined,
    /// The member is not in the group any more, or not yet.
    Out,
    /// These are ours from now on.
    Assigned { incarnation: Incarnation, partitions: Partitions },
    /// These are to be settled, committed and let go of; then [`Event::Released`] is said (rule R6).
    Revoked { incarnation: Incarnation, partitions: Partitions },
    /// These are gone: nothing of them may be committed (rule R7).
    Lost { incarnation: Incarnation, partitions: Partitions },
    /// The coordinator cannot be reached, or can again.
    Coordinator { trouble: Option<String> },
    /// The application may not work for the group, or may again.
    Claim { trouble: Option<Error> },
    /// Something that people should know; work goes on.
    Warned(Error),
    /// The membership cannot go on.
    Failed(Error),
    /// The membership has ended as it was asked to.
    Left,
}

/// Whether commits may be sent, and as whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Authority {
    /// `None` before the membership begins: then there are only commits without one.
    pub(crate) commits: Option<Commits>,
    /// How often partitions were lost. Positions that were noted before the last loss was heard of may not be committed
    /// under a later membership.
    pub(crate) losses: u64,
}

/// The handle of a membership.
#[derive(Debug)]
pub(crate) struct Membership {
    news: mpsc::Receiver<News>,
    voice: Voice,
}

/// Speaks to the session.
#[derive(Clone, Debug)]
pub(crate) struct Voice(mpsc::Sender<Event>);

/// See the module.
pub(crate) struct Session {
    settings: Settings,
    member: Box<dyn Member + Send>,
    coordinator: Arc<GroupCoordinator>,
    topics: Watched,
    heard: mpsc::Receiver<Event>,
    news: mpsc::Sender<News>,
    authority: watch::Sender<Authority>,
    work: FuturesUnordered<BoxFuture<'static, Event>>,
    begun: Instant,
    wake: Option<Instant>,
    /// What was asked back from an application that is gone.
    unclaimed: VecDeque<(Incarnation, Partitions)>,
    reach: Reach,
    gate: Gate,
    recorder: Recorder,
    _witness: Witness,
    is_alone: bool,
    is_over: bool,
}

impl Voice {
    /// Says something. A session that is over does not hear it, and need not.
    pub(crate) fn say(&self, event: Event) {
        drop(self.0.try_send(event));
    }
}

impl Membership {
    /// A handle with the session that is to be run for it, and where the authority to commit is told.
    pub(crate) fn pair(
        configured: Configured,
        coordinator: Arc<GroupCoordinator>,
        flights: &Files,
    ) -> (Self, Session, watch::Receiver<Authority>) {
        let (voice, heard) = mpsc::channel(UNHEARD);
        let (sender, news) = mpsc::channel(UNHEARD);
        let (authority, told) = watch::channel(Authority::default());
        let Configured { settings, protocol } = configured;
        let reach = Reach::new(&settings.group);
        let recorder = flights.recorder().clone();
        let member: Box<dyn Member + Send> = match protocol {
            Protocol::Classic => Box::new(recorder.watch(Classic::new(settings.clone()), None)),
            Protocol::NextGeneration => Box::new(recorder.watch(NextGeneration::new(settings.clone()), None)),
        };
        let session = Session {
            topics: Watched::new(coordinator.cluster().clone(), settings.topics.clone()),
            settings,
            member,
            coordinator,
            heard,
            news: sender,
            authority,
            work: FuturesUnordered::new(),
            begun: Instant::now(),
            wake: None,
            unclaimed: VecDeque::new(),
            reach,
            gate: Gate::default(),
            recorder,
            _witness: flights.witness(),
            is_alone: false,
            is_over: false,
        };
        (Self { news, voice: Voice(voice) }, session, told)
    }

    /// The next news; `None` when the session is over.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// What speaks to the session.
    pub(crate) fn voice(&self) -> &Voice {
        &self.voice
    }
}

impl Session {
    /// Has this asked before each join, and now and then while the member is in.
    pub(crate) fn ask(&mut self, admit: Admit) {
        self.gate.ask(admit);
    }

    /// Joins, and keeps the membership until it has ended or `stop` is raised: then the application is gone with all that
    /// it had in hand, and the group is left without a commit.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        self.begun = Instant::now();
        let barred = |authority: &mut Authority| authority.commits = Some(Commits::Barred);
        self.authority.send_modify(barred);
        let seen = self.topics.seen();
        self.take(Event::Metadata(seen));
        self.take(Event::Start);
        while !self.is_over {
            let event = tokio::select! {
                () = stop.cancelled() => return self.part().await,
                Some(event) = self.heard.recv() => event,
                Some(event) = self.work.next(), if !self.work.is_empty() => event,
                seen = self.topics.changed() => Event::Metadata(seen),
                () = at(self.wake) => {
                    self.wake = None;
                    Event::Tick
                }
                error = self.gate.robbed() => match self.is_in() {
                    true => self.rob(error),
                    false => continue,
                },
                () = at(self.reach.due()) => {
                    let told = self.reach.late();
                    self.report(told);
                    continue;
                }
            };
            let told = self.reach.take(&event);
            self.report(told);
            self.take(event);
        }
    }

    /// Leaves without anybody to settle anything.
    async fn part(mut self) {
        self.is_alone = true;
        self.take(Event::Leave { within: FAREWELL });
        let patience = Instant::now() + FAREWELL;
        while !self.is_over {
            let event = match self.unclaimed.pop_front() {
                Some((incarnation, partitions)) => Event::Released { incarnation, partitions },
                None => tokio::select! {
                    () = tokio::time::sleep_until(patience) => return,
                    Some(event) = self.work.next(), if !self.work.is_empty() => event,
                    () = at(self.wake) => {
                        self.wake = None;
                        Event::Tick
                    }
                },
            };
            self.take(event);
        }
    }

    fn take(&mut self, event: Event) {
        let now = Now { at: self.begun.elapsed(), chance: fastrand::u16(..) };
        for effect in self.member.take(now, event) {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::FindCoordinator => self.work.push(requests::find(self.coordinator.clone()).boxed()),
            Effect::Send { tag, lane, call, within } => {
                self.reach.sent(lane, Instant::now());
                let joins = is_join(&call) && !self.is_in() && !self.is_alone;
                let sent = requests::send(self.coordinator.clone(), tag, lane, call, within);
                self.work.push(match joins {
                    true => self.gate.guard(sent, self.news.clone(), (tag, within)).boxed(),
                    false => sent.boxed(),
                });
            }
            Effect::WakeAt(at) => self.wake = Some(self.begun + at),
            Effect::Assigned { incarnation, partitions, .. } => self.tell(News::Assigned { incarnation, partitions }),
            Effect::Revoked { incarnation, partitions } if self.is_alone => {
                self.unclaimed.push_back((incarnation, partitions));
            }
            Effect::Revoked { incarnation, partitions } => self.tell(News::Revoked { incarnation, partitions }),
            Effect::Lost { incarnation, partitions } => {
                self.authority.send_modify(|authority| authority.losses += 1);
                self.tell(News::Lost { incarnation, partitions });
            }
            Effect::Commits(commits) => self.authorize(commits),
            Effect::RefreshMetadata { names, .. } => self.topics.want(names),
            Effect::Plan { generation, assignor, members } => {
                let within = self.settings.request_timeout.min(self.settings.session_timeout / 3);
                let cluster = self.coordinator.cluster().clone();
                self.work.push(plan::plan(cluster, generation, assignor, members, within).boxed());
            }
            Effect::FallBack => {
                self.wake = None;
                self.member = Box::new(self.recorder.watch(Classic::new(self.settings.clone()), None));
                let seen = self.topics.seen();
                self.take(Event::Metadata(seen));
                self.take(Event::Start);
            }
            Effect::Warn(complaint) => self.warn(&complaint),
            Effect::Fatal(complaint) => self.tell(News::Failed(complaint.to_error())),
            Effect::Left => {
                self.is_over = true;
                self.tell(News::Left);
            }
        }
    }

    /// Whether the member is in the group.
    fn is_in(&self) -> bool {
        matches!(&self.authority.borrow().commits, Some(Commits::As(_) | Commits::Held))
    }

    /// Another store has the group: nothing is applied any more.
    fn rob(&mut self, error: Error) -> Event {
        self.tell(News::Claim { trouble: Some(error) });
        Event::StepAside
    }

    fn authorize(&mut self, commits: Commits) {
        let was_in = self.is_in();
        match (&commits, was_in) {
            (Commits::As(Credentials { member_id, epoch, .. }), false) => {
                tracing::info!(group = self.settings.group, member_id, epoch, "the group is joined");
                self.tell(News::Joined);
            }
            (Commits::Barred, true) => self.tell(News::Out),
            (Commits::As(_), true) | (Commits::Held, _) | (Commits::Barred, false) => {}
        }
        self.authority.send_modify(|authority| authority.commits = Some(commits));
    }

    fn warn(&mut self, complaint: &Complaint) {
        self.tell(News::Warned(complaint.to_error()));
    }

    /// Health speaks of a coordinator that is not heard.
    fn report(&mut self, told: Option<Told>) {
        match told {
            Some(Told::Trouble(sentence)) => self.tell(News::Coordinator { trouble: Some(sentence) }),
            Some(Told::Heard) => self.tell(News::Coordinator { trouble: None }),
            None => {}
        }
    }

    fn tell(&mut self, news: News) {
        if self.news.try_send(news).is_err() && !self.is_alone {
            // Nobody listens any more, or not for so long that the membership is of no use.
            self.is_over = true;
        }
    }
}

/// Whether a request of one who is not in the group would bring it in. A farewell does not.
fn is_join(call: &Call) -> bool {
    match call {
        Call::ConsumerHeartbeat(request) => request.member_epoch == 0,
        Call::Join(_) => true,
        Call::Sync(_) | Call::Heartbeat(_) | Call::Leave(_) => false,
    }
}

async fn at(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}

impl Authority {
    /// As whom to commit: `Ok(None)` without membership, `Err` while it has to wait.
    pub(crate) fn credentials(&self) -> Result<Option<&Credentials>, Wait> {
        match &self.commits {
            None => Ok(None),
            Some(Commits::As(credentials)) => Ok(Some(credentials)),
            Some(Commits::Held | Commits::Barred) => Err(Wait),
        }
    }
}

/// Commits have to wait for the membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait;
