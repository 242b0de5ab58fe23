//! Processor time and memory of the lives that run.

use std::io;

use model::input::Usage;

use crate::cgroup::Reading;
use crate::driver::Driver;
use crate::living::Living;
use crate::process_table;

/// Reads the cell of each life; the process table is searched only when there is a life without one.
pub(crate) fn usage(driver: &Driver) -> io::Result<Vec<Usage>> {
    let (mut usages, mut without_cell) = (Vec::new(), Vec::new());
    for living in driver.livings().into_iter().filter(|living| !living.has_ended()) {
        match living.usage() {
            Some(reading) => usages.push(usage_of(&living, reading)),
            None => without_cell.push(living),
        }
    }
    if without_cell.is_empty() {
        return Ok(usages);
    }
    let by_session = process_table::usage_by_session()?;
    for living in without_cell {
        let leader = living.record.process;
        let reading = leader.and_then(|leader| by_session.get(&leader.pid));
        usages.extend(reading.map(|reading| usage_of(&living, *reading)));
    }
    Ok(usages)
}

fn usage_of(living: &Living, reading: Reading) -> Usage {
    let Reading { cpu_time, memory, throttling } = reading;
    Usage {
        replica: living.record.replica(),
        incarnation: living.record.incarnation(),
        cpu_time,
        memory,
        throttling,
    }
}
