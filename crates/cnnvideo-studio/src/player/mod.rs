// SPDX-License-Identifier: MIT OR Apache-2.0

//! The player of a session: decodes the video, runs the chain, and hands pairs of frames to the
//! view. It is one thread, which alone touches decoder and chain.

mod chain;
pub(crate) mod command;
mod converter;
mod decoder;
mod frame;
pub(crate) mod outbox;
mod overlay;
mod picture;
mod playback;
mod quality;
mod report;
pub(crate) mod source;
pub(crate) mod steps;
mod strand;
pub(crate) mod view;

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{access::Access, card::Card, problem::Problem};
use chain::{CardFault, Chain};
use command::{Command, without_replaced};
use decoder::Decoder;
use frame::{Frame, Pair};
use outbox::Outbox;
use quality::Meter;
use report::Rate;
use source::Source;
use view::{Shown, View};

/// Frames that warm up the chain before a frame that does not begin a run.
const WARM_UP: usize = 8;
/// Frames that warm up the chain while a slider moves, beside the shown one.
const QUICK_WARM_UP: usize = 1;
/// Most future frames that a card may use.
const MAX_LOOKAHEAD: usize = 16;
/// Time without a change of the settings after which the exact picture is made.
const SETTLED: Duration = Duration::from_millis(250);
/// Time between looks at the messages of the elements while nothing else happens.
const IDLE: Duration = Duration::from_millis(100);

/// State of a player that other threads read.
#[derive(Debug, Default)]
pub(crate) struct Health {
    beats: AtomicU64,
    position: AtomicU64,
    waiting: AtomicU64,
}

impl Health {
    /// Returns a number that changes while the player runs.
    pub(crate) fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// Returns the time of the frame shown last, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        self.position.load(Ordering::Relaxed) as f64 / 1e9
    }

    /// Notes that a command waits.
    pub(crate) fn command_waits(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that commands no longer wait.
    pub(crate) fn commands_left(&self, count: usize) {
        self.waiting.fetch_sub(count as u64, Ordering::Relaxed);
    }

    /// Returns whether commands wait.
    fn has_commands(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }
}

/// Shared resources of a player.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// Files that may be opened.
    pub(crate) access: Arc<Access>,
    /// Elements that cards may have.
    pub(crate) elements: Arc<[String]>,
    /// Messages to the page.
    pub(crate) outbox: Arc<Outbox>,
    /// Pictures for the page.
    pub(crate) view: Arc<View>,
    /// Signs of life.
    pub(crate) health: Arc<Health>,
}

/// A frame to decode up to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Goal {
    /// The one that is shown at a time.
    At(gst::ClockTime),
    /// The one behind that of a time.
    After(gst::ClockTime),
}

/// State of a session.
pub(crate) struct Player {
    around: Surroundings,
    source: Option<Source>,
    decoder: Option<Decoder>,
    /// Number of sources opened so far.
    opening: u64,
    /// Whether the page knows the opened source.
    described: bool,
    cards: Vec<Card>,
    /// Cards that have failed since the last change of the chain.
    failed: HashSet<u32>,
    revision: u64,
    chain: Option<(Chain, gst::Caps)>,
    /// Frames decoded last, to run a changed chain on.
    recent: VecDeque<Frame>,
    shown: Option<Pair>,
    playing: bool,
    looped: bool,
    ended: bool,
    regions: bool,
    /// Measures the shown pairs, while the page asks for it.
    meter: Option<Meter>,
    /// The frame to decode up to.
    goal: Option<Goal>,
    /// Pairs that the chain has finished and that are not shown yet.
    ready: VecDeque<Pair>,
    /// The last pair on the way to the goal.
    passed: Option<Pair>,
    /// Whether the chain has had the last frame.
    drained: bool,
    /// When playing began, and the time of its first frame.
    clock: Option<(Instant, gst::ClockTime)>,
    refine_at: Option<Instant>,
    waiting_since: Option<Instant>,
    rate: Rate,
}

impl Player {
    /// Returns a player without a source.
    pub(crate) fn new(around: Surroundings) -> Self {
        Self {
            around,
            source: None,
            decoder: None,
            opening: 0,
            described: false,
            cards: Vec::new(),
            failed: HashSet::new(),
            revision: 0,
            chain: None,
            recent: VecDeque::new(),
            shown: None,
            playing: false,
            looped: false,
            ended: false,
            regions: true,
            meter: None,
            goal: None,
            ready: VecDeque::new(),
            passed: None,
            drained: false,
            clock: None,
            refine_at: None,
            waiting_since: None,
            rate: Rate::default(),
        }
    }

    /// Carries out commands until their sender is dropped.
    pub(crate) fn run(mut self, commands: &Receiver<Command>) {
        loop {
            self.around.health.beat();
            match commands.recv_timeout(self.wait()) {
                Ok(first) => {
                    let all: Vec<_> = std::iter::once(first).chain(commands.try_iter()).collect();
                    // Others may have been sent since.
                    self.around.health.commands_left(all.len());
                    for command in without_replaced(all) {
                        self.around.health.beat();
                        self.apply(command);
                    }
                    self.report_status();
                }
                Err(RecvTimeoutError::Timeout) => (),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.work();
        }
    }

    /// Returns how long there is nothing to do.
    fn wait(&self) -> Duration {
        if self.decoder.is_some() && (self.playing || self.goal.is_some()) {
            return Duration::ZERO;
        }
        let until = |time: Instant| time.saturating_duration_since(Instant::now());
        self.refine_at.map_or(IDLE, |time| until(time).min(IDLE))
    }

    fn work(&mut self) {
        if self.decoder.is_some() && (self.playing || self.goal.is_some()) {
            self.advance();
        }
        if self.refine_at.is_some_and(|time| time <= Instant::now()) {
            self.refine_at = None;
            if !self.playing && self.goal.is_none() {
                self.replay(WARM_UP, true);
            }
        }
        self.report_messages();
        if self.rate.is_due() {
            self.report_status();
        }
    }

    fn apply(&mut self, command: Command) {
        match command {
            Command::Open { source } => self.open(source),
            Command::Play => self.play(),
            Command::Pause => self.pause(),
            Command::Seek { seconds } => {
                let nanoseconds = (seconds * 1e9) as u64;
                self.seek(gst::ClockTime::from_nseconds(nanoseconds));
            }
            Command::Step { frames } => self.step(frames),
            Command::Loop { on } => self.looped = on,
            Command::Chain { cards, revision } => self.set_cards(cards, revision),
            Command::Ack => (),
            Command::Quality { on, reference } => self.set_quality(on, reference),
            Command::Regions { on } => {
                self.regions = on;
                if !self.playing {
                    self.show_again();
                }
            }
        }
    }

    fn open(&mut self, source: Source) {
        // The old pipeline ends first: a camera cannot be open twice.
        self.decoder = None;
        self.chain = None;
        self.forget(false);
        self.failed.clear();
        self.shown = None;
        self.playing = false;
        self.described = false;
        self.opening += 1;
        match Decoder::open(&source, &self.around.access) {
            Ok(decoder) => {
                self.playing = decoder.is_live();
                self.decoder = Some(decoder);
                self.source = Some(source);
                self.goal = Some(Goal::At(gst::ClockTime::ZERO));
            }
            Err(problem) => self.report_problem(&problem, None),
        }
    }

    fn set_cards(&mut self, cards: Vec<Card>, revision: u64) {
        if let Some(card) = cards.iter().find(|card| !self.around.elements.contains(&card.element))
        {
            let text = format!("there is no card {}", card.element);
            self.report_problem(&Problem::new(text, "choose one of the list"), Some(card.id));
            return;
        }
        self.revision = revision;
        self.failed.clear();
        let updated = match &mut self.chain {
            Some((chain, _)) => chain.update(&cards, &self.around.access),
            None => Ok(false),
        };
        self.cards = cards;
        match updated {
            Ok(true) => (),
            // The new chain starts while the old one still holds the loaded networks.
            Ok(false) => {
                if let Some(caps) = self.recent.back().map(|frame| frame.caps.clone()) {
                    self.start_chain(&caps);
                    if self.playing {
                        self.warm_up();
                    }
                }
            }
            Err(fault) => {
                self.fail(fault);
                self.chain = None;
            }
        }
        if !self.playing && self.goal.is_none() && self.shown.is_some() {
            self.replay(QUICK_WARM_UP, false);
            self.refine_at = Some(Instant::now() + SETTLED);
        }
    }

    /// Starts the chain for video of some caps. Cards that fail are reported and left out.
    fn start_chain(&mut self, caps: &gst::Caps) {
        loop {
            let mut cards = self.cards.clone();
            cards.iter_mut().for_each(|card| card.on &= !self.failed.contains(&card.id));
            match Chain::start(&cards, caps, &self.around.access) {
                Ok(chain) => {
                    self.chain = Some((chain, caps.clone()));
                    return;
                }
                Err(fault) => {
                    if !self.fail(fault) {
                        // Without cards, frames pass unchanged.
                        self.chain = Chain::start(&[], caps, &self.around.access)
                            .ok()
                            .map(|chain| (chain, caps.clone()));
                        return;
                    }
                }
            }
        }
    }

    /// Reports a fault, and switches its card off; if it tells none, all cards. Returns whether
    /// cards are left.
    fn fail(&mut self, fault: CardFault) -> bool {
        self.report_problem(&fault.problem, fault.card);
        match fault.card.filter(|id| !self.failed.contains(id)) {
            Some(card) => {
                self.failed.insert(card);
            }
            None => self.failed.extend(self.cards.iter().map(|card| card.id)),
        }
        self.cards.iter().any(|card| card.on && !self.failed.contains(&card.id))
    }

    /// Begins or ends to measure.
    fn set_quality(&mut self, on: bool, reference: Option<String>) {
        self.meter = None;
        if !on {
            return;
        }
        let started = Meter::start(Arc::clone(&self.around.outbox)).and_then(|meter| {
            meter.set_reference(reference, &self.around.access)?;
            Ok(meter)
        });
        match started {
            Ok(meter) => {
                if let Some(pair) = self.shown.clone() {
                    meter.measure(self.opening, pair);
                }
                self.meter = Some(meter);
            }
            Err(problem) => self.report_problem(&problem, None),
        }
    }

    fn show(&mut self, pair: Pair, lossless: bool) {
        self.around.health.position.store(pair.before.time().nseconds(), Ordering::Relaxed);
        self.shown = Some(pair.clone());
        if let Some(meter) = &self.meter {
            meter.measure(self.opening, pair.clone());
        }
        self.around.view.show(Shown {
            pair,
            lossless,
            revision: self.revision,
            opening: self.opening,
            regions: self.regions,
        });
    }

    fn show_again(&mut self) {
        if let Some(pair) = self.shown.clone() {
            self.show(pair, true);
        }
    }

    fn report_problem(&self, problem: &Problem, card: Option<u32>) {
        let event = json!({"type": "problem", "problem": problem, "card": card});
        self.around.outbox.event(&event);
    }
}
