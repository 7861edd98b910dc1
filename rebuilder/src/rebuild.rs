//! The door: carries out a definition, step by step.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path};
use std::time::Instant;

use jiff::Timestamp;

use crate::container::{Layout, Scratch, environment};
use crate::disk::{Found, open_file_below};
use crate::error::While;
use crate::log::Log;
use crate::run::{Finished, Run, deadline, measured, run};
use crate::trace::Tracer;
use crate::watch::{Ended, Reached};
use crate::{
    Artifact, BuildFailure, Digest, Event, InternalParameters, Limits, Network, OperatingError,
    Outcome, Rebuild, RebuildOrder, Step, StepRun,
};

/// Runs the steps of `order.definition` and hashes what they made.
///
/// `order.work` must be an empty directory; beside it appears `<work>.container` for as long as
/// this runs. To be called from a process with a single thread, see [`crate::rebuild_main`].
pub fn rebuild(
    order: &RebuildOrder,
    report: &mut dyn FnMut(Event),
) -> Result<Rebuild, OperatingError> {
    let parameters = &order.definition.internal_parameters;
    check_order(order, parameters)?;
    let scratch = Scratch::beside(&order.work)?;
    for directory in ["out", "home"] {
        let path = order.work.join(directory);
        fs::create_dir(&path).while_trying(|| format!("create {}", path.display()))?;
    }
    let log = Log::create(&order.log, parameters.limits.log_bytes)
        .while_trying(|| format!("create {}", order.log.display()))?;

    let started = Timestamp::now();
    let deadline = deadline(&parameters.limits);
    let mut execution = Execution {
        order,
        parameters,
        scratch: &scratch,
        deadline,
        log,
        tracer: Tracer::default(),
        steps: Vec::new(),
        payloads: Vec::new(),
        limits_in_force: Vec::new(),
    };
    let failure = execution.run_steps(report)?;
    let finished = Timestamp::now();
    let outcome = match failure {
        Some(failure) => Outcome::Failed(failure),
        None => hash_outputs(&order.work, &parameters.outputs)?,
    };

    let log_bytes = execution.log.step_bytes();
    let log_bytes_dropped =
        execution.log.finish().while_trying(|| format!("write {}", order.log.display()))?;
    Ok(Rebuild {
        definition: order.definition.digest(),
        outcome,
        steps: execution.steps,
        payloads: execution.payloads,
        trace: execution.tracer.finish(),
        log_bytes,
        log_bytes_dropped,
        limits_in_force: execution.limits_in_force,
        started,
        finished,
    })
}

struct Execution<'a> {
    order: &'a RebuildOrder,
    parameters: &'a InternalParameters,
    scratch: &'a Scratch,
    deadline: Instant,
    log: Log,
    tracer: Tracer,
    steps: Vec<StepRun>,
    payloads: Vec<Artifact>,
    limits_in_force: Vec<String>,
}

impl Execution<'_> {
    fn run_steps(
        &mut self,
        report: &mut dyn FnMut(Event),
    ) -> Result<Option<BuildFailure>, OperatingError> {
        for step in &self.parameters.steps {
            report(Event::Started { step: step.name.clone() });
            let begun = Instant::now();
            let finished = self.run_step(step)?;
            let milliseconds = begun.elapsed().as_millis() as u64;
            self.steps.push(StepRun { name: step.name.clone(), milliseconds });
            self.limits_in_force = finished.limits_in_force;
            if let Some(failure) = failure_of(&step.name, finished.ended, &self.parameters.limits) {
                return Ok(Some(failure));
            }

            let payload = match &step.payload {
                None => None,
                Some(path) => match hash_file(&self.order.work, Path::new(path))? {
                    Hashed::Artifact(artifact) => Some(artifact),
                    Hashed::Failure(failure) => return Ok(Some(failure)),
                },
            };
            self.payloads.extend(payload.clone());
            report(Event::Finished { step: step.name.clone(), milliseconds, payload });
            self.trace(&step.name)?;
        }
        Ok(None)
    }

    fn run_step(&mut self, step: &Step) -> Result<Finished, OperatingError> {
        let order = self.order;
        let log = &mut self.log;
        log.heading(&step.name).while_trying(|| format!("write {}", order.log.display()))?;
        let script = ["/bin/bash", "-euo", "pipefail", "-c", &step.run];
        let step_run = Run {
            name: &step.name,
            layout: Layout {
                root: &order.root,
                work: &order.work,
                mounts: vec![(order.source.clone(), "/source".to_string())],
                network: Network::None,
            },
            scratch: self.scratch,
            command: script.map(String::from).to_vec(),
            environment: step_environment(self.parameters),
            has_input: false,
            stdout: None,
            limits: &self.parameters.limits,
            deadline: self.deadline,
            measured: measured(&order.work, self.scratch),
        };
        run(step_run, &mut |bytes| log.write(bytes))
    }

    fn trace(&mut self, step: &str) -> Result<(), OperatingError> {
        let traced = Path::new(&self.parameters.traced);
        if traced.as_os_str().is_empty() {
            return Ok(());
        }
        self.tracer
            .look(&self.order.work, traced, step)
            .while_trying(|| format!("trace {} after step {step}", traced.display()))
    }
}

/// The variables of every step, also for whoever runs the steps by other means.
pub fn step_environment(parameters: &InternalParameters) -> BTreeMap<String, String> {
    environment("/work/home", &parameters.environment)
}

/// `None` if the command did what it was to do.
pub(crate) fn failure_of(step: &str, ended: Ended, limits: &Limits) -> Option<BuildFailure> {
    let step = step.to_string();
    Some(match ended {
        Ended::Exited(0) => return None,
        Ended::Exited(code) => BuildFailure::Exited { step, code },
        Ended::Signalled(signal) => BuildFailure::Signalled { step, signal },
        Ended::Reached(reached) => match reached {
            Reached::WallTime => BuildFailure::WallTime { step, seconds: limits.wall_seconds },
            Reached::Silent => BuildFailure::Silent { step, seconds: limits.silent_seconds },
            Reached::Memory => BuildFailure::Memory { step, bytes: limits.memory_bytes },
            Reached::Processes => BuildFailure::Processes { step, processes: limits.processes },
            Reached::FileSize => BuildFailure::FileSize { step, bytes: limits.file_bytes },
            Reached::Disk => BuildFailure::Disk { step, bytes: limits.disk_bytes },
        },
    })
}

fn hash_outputs(work: &Path, outputs: &[String]) -> Result<Outcome, OperatingError> {
    let mut artifacts = Vec::new();
    for name in outputs {
        match hash_file(work, &Path::new("out").join(name))? {
            Hashed::Artifact(artifact) => artifacts.push(artifact),
            Hashed::Failure(failure) => return Ok(Outcome::Failed(failure)),
        }
    }
    Ok(Outcome::Built(artifacts))
}

enum Hashed {
    Artifact(Artifact),
    Failure(BuildFailure),
}

fn hash_file(work: &Path, below: &Path) -> Result<Hashed, OperatingError> {
    let reading = || format!("read {}", work.join(below).display());
    let name = below.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let hashed: io::Result<Hashed> = (|| {
        Ok(match open_file_below(work, below)? {
            Found::Missing => Hashed::Failure(BuildFailure::MissingOutput { name }),
            Found::NotAFile => Hashed::Failure(BuildFailure::NotAFile { name }),
            Found::File(file) => {
                let (sha256, size) = Digest::of_reader(file)?;
                Hashed::Artifact(Artifact { name, size, sha256 })
            }
        })
    })();
    hashed.while_trying(reading)
}

/// The definition comes from our own recipe; these are its mistakes, found before anything runs.
fn check_order(
    order: &RebuildOrder,
    parameters: &InternalParameters,
) -> Result<(), OperatingError> {
    let refuse = |why: String| Err(OperatingError::InvalidOrder(why));
    for output in &parameters.outputs {
        if !is_below(output) || output.contains('/') {
            return refuse(format!("output {output:?} is not a plain file name"));
        }
    }
    for path in parameters.steps.iter().filter_map(|step| step.payload.as_ref()) {
        if !is_below(path) {
            return refuse(format!("payload {path:?} is not a path below the work directory"));
        }
    }
    if !parameters.traced.is_empty() && !is_below(&parameters.traced) {
        return refuse(format!("traced {:?} is not below the work directory", parameters.traced));
    }
    let reading = || format!("read {}", order.work.display());
    if fs::read_dir(&order.work).while_trying(reading)?.next().is_some() {
        return refuse(format!("{} is not empty", order.work.display()));
    }
    Ok(())
}

fn is_below(path: &str) -> bool {
    let path = Path::new(path);
    path.file_name().is_some()
        && path.components().all(|component| matches!(component, Component::Normal(_)))
}
