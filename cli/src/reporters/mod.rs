//! Who tells people and programs about a run: one file a reporter.

mod json;
mod lines;
mod tree;

use drydock_run::reporter::Reporter;

use crate::args::Common;
use crate::formats::Format;
use crate::outside::Outside;

/// The reporters that these options ask for.
pub(crate) fn for_options(common: &Common, outside: &Outside, run: &str) -> Vec<Box<dyn Reporter>> {
    if common.format == Format::Json {
        return vec![Box::new(json::Json::new(run))];
    }
    if !common.quiet && !common.no_progress && outside.has_terminal() {
        vec![Box::new(tree::Tree::new(run, common.verbose))]
    } else {
        vec![Box::new(lines::Lines::new(run, common.quiet, common.verbose))]
    }
}
