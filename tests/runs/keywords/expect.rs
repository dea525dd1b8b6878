//! The keys of what an answer must be.

use super::keyword::Keyword;
use super::requests::sent;

keywords! { status json }

fn status() -> Keyword {
    sent("drydock: v1\nrequests:\n  - { path: /here, expect: { status: [2xx, 404] }, capture: { at: path } }\n")
        .refuses("[2xx, 404]", "[2x, 404]", "DD204", "is no HTTP status")
        .refuses("[2xx, 404]", "[]", "DD204", "an empty list holds no HTTP status")
        .dry_alike("[2xx, 404]", "500")
        .run_alike("[2xx, 404]", "200")
        .shows("/steps/it/outputs/at", "/here")
}

fn json() -> Keyword {
    sent("drydock: v1\nrequests:\n  - { path: /here, expect: { json: [ { path: method, equals: PUT } ] } }\n")
        .refuses(
            "json: [ { path: method, equals: PUT } ]",
            "json: { path: method }",
            "DD204",
            "`json` must be a list of mappings",
        )
        .dry_alike("equals: PUT", "equals: GET")
        .exit(20)
        .shows("/steps/it/error/code", "http.assert")
}
