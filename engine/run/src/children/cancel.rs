//! The wish that an attempt should stop: [`CancelSignal`], which the attempt sees, and [`Canceller`], which the loop holds.

use tokio::sync::watch;

/// How urgent the wish is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    GoOn,
    Stop,
    StopNow,
}

/// Asks an attempt to stop.
#[derive(Debug)]
pub struct Canceller(watch::Sender<Wish>);

impl Canceller {
    /// Ask: a program may still tidy up.
    pub fn ask(&self) {
        self.raise(Wish::Stop);
    }

    /// Insist: no grace time any more.
    pub fn insist(&self) {
        self.raise(Wish::StopNow);
    }

    fn raise(&self, wish: Wish) {
        self.0.send_if_modified(|now| {
            let raised = *now < wish;
            *now = wish.max(*now);
            raised
        });
    }
}

/// What an attempt sees of its [`Canceller`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CancelSignal(watch::Receiver<Wish>);

impl CancelSignal {
    /// A signal and the one who gives it. When the giver is gone, the signal never comes.
    pub fn pair() -> (Canceller, Self) {
        let (sender, receiver) = watch::channel(Wish::GoOn);
        (Canceller(sender), Self(receiver))
    }

    /// Whether the attempt has been asked to stop.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow() >= Wish::Stop
    }

    /// Returns when the attempt is asked to stop.
    pub async fn asked(&self) {
        self.reaches(Wish::Stop).await;
    }

    /// Returns when there is no grace time any more.
    pub async fn insisted(&self) {
        self.reaches(Wish::StopNow).await;
    }

    async fn reaches(&self, wish: Wish) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|now| *now >= wish).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wish_only_rises() {
        let (canceller, signal) = CancelSignal::pair();
        assert!(!signal.is_asked());
        canceller.insist();
        canceller.ask();
        signal.asked().await;
        signal.insisted().await;
        assert!(signal.is_asked());
    }

    #[tokio::test]
    async fn a_lost_giver_asks_nothing() {
        let (canceller, signal) = CancelSignal::pair();
        drop(canceller);
        let early =
            tokio::select! { biased; () = signal.asked() => true, () = std::future::ready(()) => false };
        assert!(!early && !signal.is_asked());
    }
}
