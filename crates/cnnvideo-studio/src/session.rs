// SPDX-License-Identifier: MIT OR Apache-2.0

//! The session of one page: its player and view, and what starts a new player when the old one
//! fails.

use std::{
    sync::{
        Arc,
        mpsc::{self, SyncSender, TrySendError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    access::Access,
    card::Card,
    player::{
        Health, Player, Surroundings, command::Command, outbox::Outbox, source::Source, view::View,
    },
    problem::{Problem, Result},
};

/// Commands that wait for the player. A page that sends more is closed.
const MAX_WAITING: usize = 512;

/// State that a restarted player needs.
#[derive(Debug, Default)]
struct Memory {
    source: Option<Source>,
    cards: Vec<Card>,
    revision: u64,
    looped: bool,
}

/// The session of one page.
pub(crate) struct Session {
    around: Surroundings,
    commands: SyncSender<Command>,
    thread: JoinHandle<()>,
    memory: Memory,
    /// The last heartbeat, and its time.
    alive: (u64, Instant),
    patience: Duration,
}

impl Session {
    /// Starts a session. A player without a sign of life for `patience` counts as blocked.
    ///
    /// # Errors
    /// The system provides no threads.
    pub(crate) fn start(
        access: Arc<Access>,
        elements: Arc<[String]>,
        patience: Duration,
    ) -> Result<Self> {
        let outbox = Arc::new(Outbox::default());
        let view = View::start(Arc::clone(&outbox)).map_err(|err| no_thread(&err))?;
        let around = Surroundings { access, elements, outbox, view, health: Arc::default() };
        let (commands, thread) = start_player(around.clone())?;
        let alive = (0, Instant::now());
        Ok(Self { around, commands, thread, memory: Memory::default(), alive, patience })
    }

    /// Returns the messages for the page.
    pub(crate) fn outbox(&self) -> &Arc<Outbox> {
        &self.around.outbox
    }

    /// Hands a command to the player.
    ///
    /// # Errors
    /// Too many commands wait.
    pub(crate) fn send(&mut self, command: Command) -> Result<()> {
        match &command {
            Command::Ack => {
                self.around.view.acknowledge();
                return Ok(());
            }
            Command::Open { source } => self.memory.source = Some(source.clone()),
            Command::Loop { on } => self.memory.looped = *on,
            Command::Chain { cards, revision } => {
                self.memory.cards = cards.clone();
                self.memory.revision = *revision;
            }
            _ => (),
        }
        self.around.health.command_waits();
        let sent = self.commands.try_send(command);
        if sent.is_err() {
            self.around.health.commands_left(1);
        }
        match sent {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(Problem::new(
                "the page sends more than the player takes",
                "load the page again",
            )),
            // The next check starts a new player, from what is remembered.
            Err(TrySendError::Disconnected(_)) => Ok(()),
        }
    }

    /// Starts a new player if the old one has crashed or does not go on.
    ///
    /// # Errors
    /// The system provides no thread.
    pub(crate) fn check(&mut self) -> Result<()> {
        let beats = self.around.health.beats();
        if beats != self.alive.0 {
            self.alive = (beats, Instant::now());
        }
        let crashed = self.thread.is_finished() || self.around.view.has_ended();
        if !crashed && self.alive.1.elapsed() < self.patience {
            return Ok(());
        }
        self.restart(crashed)
    }

    fn restart(&mut self, crashed: bool) -> Result<()> {
        let seconds = self.around.health.seconds();
        // The old player, if it ever goes on, finds its channel closed; its view and its signs of
        // life are no longer those of the session.
        self.around.view.end();
        self.around.view =
            View::start(Arc::clone(&self.around.outbox)).map_err(|err| no_thread(&err))?;
        self.around.health = Arc::<Health>::default();
        (self.commands, self.thread) = start_player(self.around.clone())?;
        self.alive = (0, Instant::now());
        let what = if crashed { "crashed" } else { "did not go on" };
        let problem = Problem::new(
            format!("the pipeline {what} and was started again, with all cards off"),
            "switch the cards on one by one",
        );
        self.around.outbox.event(&json!({"type": "restarted", "problem": problem}));
        let mut cards = self.memory.cards.clone();
        cards.iter_mut().for_each(|card| card.on = false);
        let revision = self.memory.revision;
        let looped = Command::Loop { on: self.memory.looped };
        let source = self.memory.source.clone().map(|source| Command::Open { source });
        let chain = Command::Chain { cards, revision };
        let seek = Command::Seek { seconds };
        for command in [Some(chain), Some(looped), source, Some(seek)].into_iter().flatten() {
            self.send(command)?;
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.around.view.end();
    }
}

fn start_player(around: Surroundings) -> Result<(SyncSender<Command>, JoinHandle<()>)> {
    let (commands, receiver) = mpsc::sync_channel(MAX_WAITING);
    let thread = std::thread::Builder::new()
        .name("studio-player".to_owned())
        .spawn(move || Player::new(around).run(&receiver))
        .map_err(|err| no_thread(&err))?;
    Ok((commands, thread))
}

fn no_thread(err: &std::io::Error) -> Problem {
    Problem::new(format!("the system provides no thread: {err}"), "close other programs")
}
