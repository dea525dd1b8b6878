//! What the suite knows of a kind: [`Case`], a plan whose step `step` is killed, and how its effect is seen.

use serde_json::Value;

use crate::practice::octopus;

/// Where the effect of a kind is seen. The uncut run must show it there, or the case could not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// In the servers' ledger: requests of the step that write.
    Ledger,
    /// In the artifact store: objects whose paths begin and end like this.
    Store(&'static str, &'static str),
    /// In the artifact store: no object is left whose path begins and ends like this.
    Lost(&'static str, &'static str),
    /// In the file `effects`, to which the step's program appends a line when it works.
    File,
    /// In the run's own journal: events of this name about the step.
    Journal(&'static str),
    /// On the runner: this of [`RUNNER`] is there.
    Runner(&'static str),
    /// On the runner: this of [`RUNNER`] is there no more.
    Gone(&'static str),
    /// In the case's PostgreSQL: this of what [`inside`](crate::postgres_world::inside) lists.
    Inside(&'static str),
}

/// What a recovered PostgreSQL has on the runner: its folder, the sign that it runs, and that of a new timeline.
pub(crate) const RUNNER: [&str; 3] = ["drill", "drill/postmaster.pid", "drill/pg_wal/00000002.history"];

/// How a case is killed while its step acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acting {
    /// The server has done the work, and its answer is held back: for each of these requests, and which of that name it is.
    Held(&'static [(&'static str, u64)]),
    /// The step's program waits when it has worked, where there is a file `patient` and no file `held`, which it makes then.
    Program,
    /// The same, and also in the middle of a transaction: while this request, and which of that name it is, is still to be done, this
    /// one before it is. The server takes back what it has done of it.
    HeldAndWithin(&'static [(&'static str, u64)], (&'static str, u64), &'static str),
    /// The server has done the work, and its answer is held back, as above; and also while the first of these requests is still at it, once
    /// the step's first file is in the artifact store.
    HeldAndMiddle(&'static [(&'static str, u64)]),
    /// Never, for this reason: the step asks nothing of a server, so that no answer can be held back. The ledger must say the same.
    Never(&'static str),
}

/// A case.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// The kind.
    pub(crate) kind: &'static str,
    /// The plan below its `name`.
    pub(crate) plan: &'static str,
    /// Files beside the plan, by their names.
    pub(crate) files: Vec<(&'static str, &'static str)>,
    /// What is in the servers when the run begins; nothing where there are none.
    pub(crate) data: Option<Value>,
    /// What is run in `master` of the SQL Server before; `{sql}` is where it sees the folder `sql` of the artifact store.
    pub(crate) setup: &'static str,
    /// What is run in the database `postgres` of a PostgreSQL of its own, its target `pg`; nothing where there is none. Its plan may also
    /// name `drill`, a server that is not there yet and whose port stands for `{port}`, and `backups`; `{bin}` is the
    /// folder of its programs, `{os_user}` whom a server must run as.
    pub(crate) postgres: Option<&'static str>,
    /// Where its effect is seen.
    pub(crate) seen: Seen,
    /// How it is killed while it acts.
    pub(crate) acting: Acting,
    /// Effects that may be there once more after a kill, by the names that [`Effects`](crate::effects::Effects) gives them, each with
    /// the reason why that changes nothing. What every kind may do again stands there as well.
    pub(crate) repeats: &'static [(&'static str, &'static str)],
    /// Why it may say NotDone of an attempt that has done something: what makes doing it again harmless. Nothing for all others: for
    /// them it would be untrue.
    pub(crate) not_done: Option<&'static str>,
}

impl Case {
    /// A case on servers with an Octopus in them.
    pub(crate) fn on_servers(kind: &'static str, seen: Seen, acting: Acting, plan: &'static str) -> Self {
        Self {
            kind,
            plan,
            files: Vec::new(),
            data: Some(octopus()),
            setup: "",
            postgres: None,
            seen,
            acting,
            repeats: &[],
            not_done: None,
        }
    }

    /// A case that needs no server.
    pub(crate) fn on_the_runner(kind: &'static str, seen: Seen, acting: Acting, plan: &'static str) -> Self {
        Self { data: None, ..Self::on_servers(kind, seen, acting, plan) }
    }

    /// A case on a real PostgreSQL. It keeps no ledger, so that none of its answers can be held back.
    pub(crate) fn on_postgres(
        kind: &'static str,
        seen: Seen,
        script: &'static str,
        plan: &'static str,
    ) -> Self {
        let acting = Acting::Never("a real server holds no answer back");
        Self { postgres: Some(script), ..Self::on_the_runner(kind, seen, acting, plan) }
    }

    /// With a file beside the plan.
    pub(crate) fn with_file(mut self, name: &'static str, text: &'static str) -> Self {
        self.files.push((name, text));
        self
    }

    /// With a script that is run in `master` before.
    pub(crate) fn with_setup(self, setup: &'static str) -> Self {
        Self { setup, ..self }
    }

    /// Whether nobody may be able to say what became of an attempt: the two kinds whose other side cannot be asked.
    pub(crate) fn may_be_unknown(&self) -> bool {
        ["process.run", "http.request"].contains(&self.kind)
    }

    /// The whole plan.
    pub(crate) fn text(&self) -> String {
        format!("drydock: v1\nname: conformance\n{}", self.plan)
    }
}

/// When a case is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The attempt is in the journal, and nothing of it was done.
    Begun,
    /// This note of it, counted from 1, is in the journal, and nothing of what follows was done.
    Noted(usize),
    /// The server has done this, and its answer is held back.
    Held(&'static str, u64),
    /// The server has not done this yet, and has done that, which it takes back.
    Within(&'static str, u64, &'static str),
    /// The server is at this, and has begun to write.
    Middle(&'static str),
    /// Its program has worked, and has not ended.
    Working,
    /// The work is done, and nothing of its end is in the journal.
    Done,
}

impl Phase {
    /// What is to be assumed of an attempt that nobody can know about: what the kill makes true.
    pub(crate) fn assumed(self) -> &'static str {
        match self {
            Self::Begun | Self::Noted(_) | Self::Within(..) | Self::Middle(_) => "redo",
            Self::Held(..) | Self::Working | Self::Done => "done",
        }
    }
}
