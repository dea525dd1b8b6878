//! `drydock schema`: the JSON Schema of plans, environments, requests files or dry runs.

use drydock_machine::Exit;
use drydock_plan::schema;

use crate::args::SchemaOf;
use crate::session::{Refusal, registry};

use super::print;

/// Of what programs read, and nobody writes by hand.
const DRY_RUN: &str = include_str!("../../../schemas/dry-run.schema.json");

pub(crate) fn schema(of: SchemaOf) -> Result<Exit, Refusal> {
    let catalog = registry().catalog();
    let schema = match of {
        SchemaOf::DryRun => {
            print(DRY_RUN);
            return Ok(Exit::Done);
        }
        SchemaOf::Plan => schema::plan_schema(&catalog),
        SchemaOf::Environment => schema::environment_schema(&catalog),
        SchemaOf::Requests => schema::requests_schema(),
    };
    print(&format!("{schema:#}\n"));
    Ok(Exit::Done)
}
