//! A client: round after round, each with a context of its own, again after each death.

use std::time::Duration;

use remex::{ServerHandle, actors::chance::Chance, protocol::cluster::TaskName};
use tokio::time::sleep;

use super::{
    Phase, WORKERS, World,
    check::{self, Watch, timed},
    programs::GROUP,
    round::Round,
};

/// How long a client looks for its workers, and its contexts' calls may take unless they say otherwise.
const WAIT: Duration = Duration::from_secs(2);
/// What bring-up may take beyond that: its control calls have deadlines of their own.
const BRING_UP: Duration = Duration::from_secs(20);
/// The longest that closing may take: an unreachable task is not awaited longer.
const CLOSE: Duration = Duration::from_secs(6);
/// How often a client looks whether it may go on.
const LOOK: Duration = Duration::from_millis(50);

/// Keeps a client at work until the drill is over, whatever befalls it.
pub(super) async fn keep(world: World, i: usize, chance: Chance) {
    let watch = check::watch(world.clone());
    while world.phase.get() != Phase::Close {
        match world.cluster.task(i) {
            None => sleep(LOOK).await,
            Some(server) => {
                let client = Client { world: world.clone(), i, server, chance: chance.split(), watch: watch.clone() };
                // It dies with its task, and another takes its place.
                let _ = world.cluster.spawn(i, client.work()).await;
                sleep(LOOK).await;
            }
        }
    }
}

/// One life of a client.
pub(super) struct Client {
    pub(super) world: World,
    pub(super) i: usize,
    server: ServerHandle,
    pub(super) chance: Chance,
    pub(super) watch: Watch,
}

impl Client {
    async fn work(self) {
        while self.world.phase.get() == Phase::Work && self.server.addr().connected() {
            self.round().await;
            sleep(self.chance.between(Duration::ZERO, Duration::from_millis(200))).await;
        }
    }

    async fn round(&self) {
        let workers: Vec<TaskName> = (0..WORKERS).map(|i| self.world.cluster.name(i)).collect();
        let config = self.world.cluster.config_of(0..WORKERS).group(GROUP, workers);
        let config = config.default_deadline(WAIT).wait(WAIT);
        let made = self.server.create_context(config);
        let Ok(context) = timed(&self.world, self.i, WAIT + BRING_UP, "a context", made).await else { return };
        let mut round = Round::new(self, context.clone());
        for _ in 0..self.chance.below(5..120) {
            if self.world.phase.get() != Phase::Work || round.is_hopeless() {
                break;
            }
            round.step().await;
        }
        round.let_go().await;
        while self.world.phase.get() == Phase::Rest {
            sleep(LOOK).await;
        }
        // Which task could not be told does not matter: it learns it from the link.
        let _ = timed(&self.world, self.i, CLOSE, "a close", context.close()).await;
    }
}
