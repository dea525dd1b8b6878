//! `drydock schema`: the JSON Schema of plans, environments or requests files.

use drydock_machine::Exit;
use drydock_plan::schema;

use crate::args::SchemaOf;
use crate::session::{Refusal, registry};

use super::print;

pub(crate) fn schema(of: SchemaOf) -> Result<Exit, Refusal> {
    let catalog = registry().catalog();
    let schema = match of {
        SchemaOf::Plan => schema::plan_schema(&catalog),
        SchemaOf::Environment => schema::environment_schema(&catalog),
        SchemaOf::Requests => schema::requests_schema(),
    };
    print(&format!("{schema:#}\n"));
    Ok(Exit::Done)
}
