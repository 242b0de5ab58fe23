//! Processor time and memory of running lives.

use std::io;

use model::input::Usage;

use crate::cgroup::Reading;
use crate::driver::Driver;
use crate::process_table;
use crate::tracked_life::TrackedLife;

/// Reads the cell of each life; the process table is read only when there is a life without one.
pub(crate) fn usage(driver: &Driver) -> io::Result<Vec<Usage>> {
    let (mut usages, mut without_cell) = (Vec::new(), Vec::new());
    for tracked in driver.tracked_lives().into_iter().filter(|tracked| !tracked.has_ended()) {
        match tracked.usage() {
            Some(reading) => usages.push(usage_of(&tracked, reading)),
            None => without_cell.push(tracked),
        }
    }
    if without_cell.is_empty() {
        return Ok(usages);
    }
    let by_session = process_table::usage_by_session()?;
    for tracked in without_cell {
        let leader = tracked.record.process;
        let reading = leader.and_then(|leader| by_session.get(&leader.pid));
        usages.extend(reading.map(|reading| usage_of(&tracked, *reading)));
    }
    Ok(usages)
}

fn usage_of(tracked: &TrackedLife, reading: Reading) -> Usage {
    let Reading { cpu_time, memory, throttling } = reading;
    Usage {
        replica: tracked.record.replica(),
        incarnation: tracked.record.incarnation(),
        cpu_time,
        memory,
        throttling,
    }
}
