//! Every step kind and target kind, a folder a store and a file a kind: [`register`]. Folders never import each other; what they share
//! stands above them.

pub mod described;
pub mod word;
pub mod said_effect;
pub mod size;
pub mod bytes;
pub mod rehash;
pub mod artifact_shape;
pub mod piped;
pub mod points_layout;
pub mod http_client;
pub mod flow;
pub mod process;
pub mod http;
pub mod sqlserver;
pub mod ef;
pub mod postgres;
pub mod target;
pub mod artifact;
pub mod point;
pub mod qdrant;

use drydock_step::Registry;

/// Adds every kind and target kind, one line each.
pub fn register(registry: &mut Registry) {
    registry.kind(flow::noop::Noop);
    registry.kind(flow::set::Set);
    registry.kind(flow::fail::Fail);
    registry.kind(flow::wait::Wait);
    registry.kind(flow::approve::Approve);
    registry.kind(flow::plan_run::PlanRun);
    registry.kind(process::run::Run);
    registry.kind(target::ping::Ping);
    registry.kind(sqlserver::query::Query);
    registry.kind(sqlserver::script::Script);
    registry.kind(sqlserver::mark::Mark);
    registry.kind(sqlserver::backup::Backup);
    registry.kind(sqlserver::restore::Restore);
    registry.kind(sqlserver::open::Open);
    registry.kind(sqlserver::verify::Verify);
    registry.kind(sqlserver::certificate::Certificate);
    registry.kind(sqlserver::history_listing::History);
    registry.kind(sqlserver::server_objects::ServerObjects);
    registry.kind(sqlserver::restore_objects::RestoreObjects);
    registry.kind(sqlserver::adopt::Adopt);
    registry.kind(ef::update::Update);
    registry.target(sqlserver::target::SqlServer);
    registry.kind(postgres::query::Query);
    registry.kind(postgres::count::Count);
    registry.kind(postgres::verify::Verify);
    registry.kind(postgres::basebackup::Basebackup);
    registry.kind(postgres::recover::Recover);
    registry.kind(postgres::promote::Promote);
    registry.kind(postgres::stop::Stop);
    registry.kind(postgres::dump::Dump);
    registry.kind(postgres::load::Load);
    registry.kind(postgres::wal::Wal);
    registry.kind(postgres::wal_status::WalStatus);
    registry.kind(postgres::wal_stop::WalStop);
    registry.kind(postgres::archive::Archive);
    registry.kind(postgres::restore_point::RestorePoint);
    registry.target(postgres::target::Postgres);
    registry.kind(http::request::Request);
    registry.kind(http::wait::Wait);
    registry.kind(http::scenario::Scenario);
    registry.target(http::target::HttpTarget);
    registry.kind(artifact::verify::Verify);
    registry.kind(artifact::read::Read);
    registry.target(artifact::target::ArtifactsTarget);
    registry.kind(point::open::Open);
    registry.kind(point::seal::Seal);
    registry.kind(point::select::Select);
    registry.kind(point::reconcile::Reconcile);
    registry.kind(qdrant::snapshot::Snapshot);
    registry.kind(qdrant::fetch::Fetch);
    registry.kind(qdrant::recover::Recover);
    registry.kind(qdrant::count::Count);
    registry.kind(qdrant::query::Query);
    registry.kind(qdrant::sample::Sample);
    registry.kind(qdrant::recall::Recall);
    registry.kind(qdrant::prune::Prune);
    registry.target(qdrant::target::QdrantTarget);
}
