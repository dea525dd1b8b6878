//! The words that Octopus' texts are made of.

/// An agent's trade: its name, what it deals with, what it does with them, and what its documents are about.
pub(super) struct Trade {
    pub(super) name: &'static str,
    pub(super) things: [&'static str; 6],
    pub(super) deeds: [&'static str; 6],
    pub(super) topics: [&'static str; 6],
}

/// The trades of the first agents; the first three know most.
pub(super) const FIRST_TRADES: [Trade; 6] = [
    Trade {
        name: "Invoice triage",
        things: [
            "invoices",
            "credit notes",
            "purchase orders",
            "dunning letters",
            "tax receipts",
            "remittances",
        ],
        deeds: ["matched", "queued", "approved", "returned", "reconciled", "flagged"],
        topics: [
            "payment terms",
            "currency rounding",
            "duplicate detection",
            "tax codes",
            "approval limits",
            "supplier banking",
        ],
    },
    Trade {
        name: "Incident scribe",
        things: ["alerts", "pages", "postmortems", "status updates", "timelines", "runbook steps"],
        deeds: ["summarised", "correlated", "closed", "escalated", "annotated", "reopened"],
        topics: [
            "disk pressure",
            "certificate expiry",
            "queue backlog",
            "failover order",
            "cache stampede",
            "clock drift",
        ],
    },
    Trade {
        name: "Contract review",
        things: ["clauses", "annexes", "amendments", "renewals", "signatures", "redlines"],
        deeds: ["compared", "extracted", "rejected", "negotiated", "archived", "translated"],
        topics: [
            "limitation of liability",
            "data processing",
            "termination notice",
            "price indexation",
            "governing law",
            "escrow",
        ],
    },
    Trade {
        name: "Release notes",
        things: ["commits", "changelogs", "tickets", "screenshots", "migrations", "feature flags"],
        deeds: ["grouped", "described", "dated", "merged", "postponed", "published"],
        topics: [
            "breaking changes",
            "deprecations",
            "upgrade paths",
            "known issues",
            "performance",
            "localisation",
        ],
    },
    Trade {
        name: "Supplier onboarding",
        things: ["questionnaires", "certificates", "bank letters", "references", "site visits", "samples"],
        deeds: ["requested", "verified", "scored", "renewed", "declined", "filed"],
        topics: [
            "quality audits",
            "import duties",
            "packaging",
            "lead times",
            "conflict minerals",
            "insurance",
        ],
    },
    Trade {
        name: "Support desk",
        things: ["tickets", "calls", "refunds", "returns", "complaints", "callbacks"],
        deeds: ["answered", "routed", "granted", "translated", "prioritised", "resolved"],
        topics: [
            "password reset",
            "delivery delay",
            "warranty",
            "billing address",
            "accessibility",
            "data export",
        ],
    },
];

/// The trades of agents that come later.
pub(super) const LATER_TRADES: [Trade; 3] = [
    Trade {
        name: "Travel desk",
        things: ["itineraries", "visas", "fares", "vouchers", "upgrades", "cancellations"],
        deeds: ["booked", "rebooked", "quoted", "refunded", "confirmed", "held"],
        topics: ["rail passes", "night trains", "per diem", "group fares", "connection times", "luggage"],
    },
    Trade {
        name: "Stock forecast",
        things: ["pallets", "orders", "shelf counts", "promotions", "returns", "deliveries"],
        deeds: ["predicted", "recounted", "reordered", "shifted", "smoothed", "explained"],
        topics: ["seasonality", "safety stock", "slow movers", "harvest dates", "cold chain", "stocktaking"],
    },
    Trade {
        name: "Quality audit",
        things: ["findings", "checklists", "samples", "measurements", "deviations", "reports"],
        deeds: ["recorded", "repeated", "graded", "disputed", "signed off", "followed up"],
        topics: [
            "calibration",
            "hygiene",
            "traceability",
            "torque settings",
            "labelling",
            "training records",
        ],
    },
];

pub(super) const PLACES: [&str; 12] = [
    "Rotterdam",
    "Gdansk",
    "Porto",
    "Leipzig",
    "Turin",
    "Aarhus",
    "Lyon",
    "Graz",
    "Bilbao",
    "Tallinn",
    "Cork",
    "Ghent",
];

pub(super) const REMARKS: [&str; 8] = [
    "two were held for a missing reference",
    "all of them passed the second check",
    "one needed a human decision",
    "the oldest had waited nine days",
    "a rule was added so that it does not happen again",
    "the sender was asked for a clearer copy",
    "nothing was left open at the end of the shift",
    "the totals agreed to the cent",
];

pub(super) const OUTCOMES: [&str; 4] = ["completed", "completed", "escalated", "abandoned"];

pub(super) const MODELS: [&str; 3] = ["tentacle-large-2", "tentacle-medium-2", "tentacle-small-1"];

/// Sentences of a document; `{topic}`, `{thing}`, `{deed}`, `{place}` and `{n}` are filled in.
pub(super) const SENTENCES: [&str; 10] = [
    "Rule {n} on {topic}: {thing} from {place} are {deed} before noon.",
    "Where {topic} is in doubt, the {thing} stay open and {place} is asked.",
    "Since case {n} the {thing} are {deed} twice, once by amount and once by date.",
    "{place} keeps its own list on {topic}, which is compared every quarter.",
    "An exception for {place}: {thing} under {n} euros are {deed} without a second look.",
    "The limit on {topic} was raised to {n} after the review in {place}.",
    "If the {thing} arrive without a number, write {n} and a question mark.",
    "{topic} comes first, then {thing}, then whatever {place} has sent since.",
    "Do not file {thing} that were {deed} in {place} under {topic}; they have folder {n}.",
    "Ask for {topic} in writing: a call from {place} is not enough since incident {n}.",
];
