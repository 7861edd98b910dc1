//! `/records/ID/steps.sh`: the steps of a record as one script, for whoever runs them in another
//! container.

use rebuilder::step_environment;

use super::shell::{quoted, word};
use crate::compare::report::printable;
use crate::publish::site::{Caching, POLICY, Resource, Shown};
use crate::record::Record;
use crate::source::named;

/// The script of a record.
pub fn script(record: &Record) -> Resource {
    let parameters = &record.definition.internal_parameters;
    let (version, id) = (&record.release.version, &record.id);
    let (name, digest) = (printable(&record.environment.name), &record.environment.digest);
    let mut script = format!(
        "# The steps of Python {version}, as record {id} has them. For bash in the environment\n\
         # {name} ({digest}),\n\
         # as an ordinary user, without a network, with the repository at /source and an empty\n\
         # directory at /work. Prints the SHA-256 of each file that comes out.\n\
         set -euo pipefail\n\
         umask 022\n"
    );
    for (name, value) in step_environment(parameters) {
        script += &format!("export {name}={}\n", quoted(&value));
    }
    script += "cd /work\nmkdir home out\n";
    for step in &parameters.steps {
        // The script itself may stand in the standard input.
        let (name, run) = (printable(&step.name), quoted(&step.run));
        script += &format!("\n# {name}\n/bin/bash -euo pipefail -c {run} < /dev/null\n");
    }
    script += "\ncd out\nsha256sum --";
    for output in &parameters.outputs {
        script += &format!(" {}", quoted(output));
    }
    script.push('\n');
    Resource {
        body: script.into_bytes(),
        media_type: "text/plain; charset=utf-8",
        caching: Caching::Forever,
        modified: record.finished,
        policy: POLICY,
    }
}

/// The commands that run the script in Podman.
pub fn commands(shown: &Shown, record: &Record) -> [String; 5] {
    let script = shown.public(&format!("/records/{}/steps.sh", record.id));
    let (tag, repository) = (word(&record.source.tag), word(&named(&record.source.repository)));
    [
        format!("verbatim environment export {} environment", word(&record.environment.name)),
        format!("git clone --bare --depth 1 --branch {tag} {repository} source"),
        "mkdir work".to_owned(),
        format!("curl --fail --silent --show-error --output steps.sh {}", word(&script)),
        "podman run --rm --interactive --userns keep-id --network none --read-only --tmpfs /tmp \
         --volume \"$PWD/source:/source:ro,Z\" --volume \"$PWD/work:/work:Z\" oci:environment \
         bash < steps.sh"
            .to_owned(),
    ]
}
