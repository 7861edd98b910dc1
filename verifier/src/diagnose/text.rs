//! A diagnosis in a few lines for people.

use super::{DiagnosedFile, Diagnosis, DiagnosisOutcome, NamedVariation};
use crate::compare::report::{grouped, printable};

/// What is otherwise than in the recipe, and of which files.
pub fn text(diagnosis: &Diagnosis) -> String {
    let Diagnosis { version, recipe, files, .. } = diagnosis;
    let head = match diagnosis.outcome {
        DiagnosisOutcome::NothingToExplain => {
            format!("nothing to explain: recipe {recipe} gives the published bytes")
        }
        DiagnosisOutcome::Explained => {
            format!("explained: recipe {recipe} gives the published bytes with")
        }
        DiagnosisOutcome::NotExplained => {
            format!("not explained: no known variation of recipe {recipe} gives all files")
        }
    };
    let mut lines = vec![format!("cpython {version}  {head}")];
    for (variation, names) in by_variation(files) {
        let NamedVariation { choice, means, instead_of, .. } = variation;
        let names = match names.len() == files.len() {
            true => "all files".to_owned(),
            false => names.join(", "),
        };
        lines.push(format!("  {choice}: {means}; the recipe has: {instead_of}  ({names})"));
    }
    for DiagnosedFile { name, reason, .. } in files {
        lines.extend(reason.as_ref().map(|reason| format!("  NOT EXPLAINED {name}: {reason}")));
    }
    lines.extend(diagnosis.note.as_ref().map(|note| format!("  {note}")));
    if diagnosis.outcome == DiagnosisOutcome::NotExplained {
        lines.extend(diagnosis.left_out.iter().map(|what| format!("  not tried: {what}")));
    }
    let ruled_out = match diagnosis.ruled_out {
        0 => String::new(),
        count => format!(", {} more ruled out by what the files show", grouped(count)),
    };
    lines.push(format!("  {} trials{ruled_out}", diagnosis.trials));
    let harmless: Vec<String> = lines.iter().map(|line| printable(line)).collect();
    harmless.join("\n") + "\n"
}

/// Each variation once, with the files that need it, in the order in which they are found.
fn by_variation(files: &[DiagnosedFile]) -> Vec<(&NamedVariation, Vec<&str>)> {
    let mut groups: Vec<(&NamedVariation, Vec<&str>)> = Vec::new();
    for file in files {
        for variation in &file.variations {
            match groups.iter_mut().find(|(known, _)| *known == variation) {
                Some((_, names)) => names.push(&file.name),
                None => groups.push((variation, vec![&file.name])),
            }
        }
    }
    groups
}
