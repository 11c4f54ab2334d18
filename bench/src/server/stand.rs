//! Contestants that run, all with the same model.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::answers::{self, Said};
use super::contestants::{Paths, Peer};
use super::models::{Images, Model};
use crate::http::Connection;
use crate::process::Program;

/// Longest time from start to the first answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// For how long it is watched what they do while nobody asks.
const IDLE: Duration = Duration::from_secs(2);

/// A contestant that runs.
pub(super) struct Contestant {
    pub(super) peer: Peer,
    pub(super) program: Program,
}

pub(super) struct Stand {
    pub(super) contestants: Vec<Contestant>,
    /// Of all their files, for as long as this is here.
    _folders: Vec<tempfile::TempDir>,
}

impl Stand {
    /// Starts them all, and waits until each has answered.
    pub(super) fn start(paths: &Paths, model: Model, peers: &[Peer], images: Images) -> Result<Self> {
        let bodies = images.bodies(paths)?;
        let mut stand = Self { contestants: vec![], _folders: vec![] };
        for &peer in peers {
            let folder = tempfile::tempdir()?;
            let program = peer.start(paths, model, folder.path()).with_context(|| peer.name())?;
            stand._folders.push(folder);
            stand.contestants.push(Contestant { peer, program });
        }
        for Contestant { peer, program } in &mut stand.contestants {
            first_answer(*peer, program, &bodies[0])?;
        }
        Ok(stand)
    }

    /// Leaves the model server with bf16 out where it does not use it, and says why.
    pub(super) fn refuse_bf16(&mut self) -> Option<String> {
        let at = self.contestants.iter().position(|contestant| contestant.peer == Peer::SluiceBf16)?;
        let why = self.contestants[at].program.line("bf16 is not used")?;
        self.contestants.remove(at);
        Some(why)
    }

    /// Holds all up, or lets all go on.
    pub(super) fn pause(&self, paused: bool) {
        self.contestants.iter().for_each(|contestant| contestant.program.pause(paused));
    }

    /// Leaves those out that say something else of these images than we do; what they said instead.
    pub(super) fn check(&mut self, paths: &Paths, images: Images) -> Result<Vec<(Peer, String)>> {
        let bodies = &images.bodies(paths)?;
        let ours: Vec<Said> = answers::all(Peer::Sluice.address(), Peer::Sluice.path(), bodies)?;
        ensure!(
            ours.iter().any(|said| *said != ours[0]),
            "the model says the same of all images: {:?}",
            ours[0]
        );
        let mut wrong = vec![];
        // The limit says nothing of images.
        for peer in self.contestants.iter().map(|c| c.peer).filter(|peer| *peer != Peer::Http) {
            if let Err(error) = answers::check(peer, bodies, &ours, images.furthest()) {
                wrong.push((peer, format!("{error:#}")));
            }
        }
        self.contestants.retain(|contestant| wrong.iter().all(|(peer, _)| *peer != contestant.peer));
        Ok(wrong)
    }

    /// Parts of a core that each uses while nobody asks: so much it takes from the others' turns.
    pub(super) fn idle(&self) -> Result<Vec<(Peer, f64)>> {
        let spent =
            || -> Result<Vec<Duration>> { self.contestants.iter().map(|c| c.program.cpu()).collect() };
        let before = spent()?;
        std::thread::sleep(IDLE);
        let each = self.contestants.iter().zip(before.iter().zip(spent()?));
        Ok(each
            .map(|(c, (before, after))| (c.peer, (after - *before).as_secs_f64() / IDLE.as_secs_f64()))
            .collect())
    }
}

/// Waits for the first answer to a contestant's address; how long that took.
pub(super) fn first_answer(peer: Peer, program: &mut Program, body: &str) -> Result<Duration> {
    let (start, request) = (Instant::now(), answers::request(peer.path(), body));
    loop {
        let answer = Connection::open(peer.address()).and_then(|mut c| answers::ask(&mut c, &request));
        let Err(failure) = answer else { return Ok(start.elapsed()) };
        if program.has_ended()? || start.elapsed() > PATIENCE {
            bail!("{} does not answer: {failure}; {}", peer.name(), program.last_words());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
