//! Every limit of `lb.toml`: a number, its unit in its name or type, and its reason.
//!
//! Read by the rest of `config`, and by rooms that take the same values from elsewhere (a command line, an API).

use std::ops::RangeInclusive;
use std::time::Duration;

/// Bytes of the file. 50,000 backends of 150 bytes fit; a log named by mistake doesn't.
pub const FILE_BYTES_MAX: usize = 8 << 20;
/// Tables and arrays in one another, as brackets: `service = [{ backend = [{ … }] }]` needs 4. Bounds the stack that the tree takes.
pub const NESTING_MAX: usize = 8;
/// Parts of one dotted key: `service.health.kind` has 3. Bounds the same stack.
pub const KEY_PARTS_MAX: usize = 8;
/// Problems told of one file; nobody reads more, and a file that is no TOML has one in each line.
pub const PROBLEMS_MAX: usize = 1_000;
/// Services: each has listeners, a pool and a prober's share.
pub const SERVICES_MAX: usize = 1_000;
/// Listen addresses in the whole file: each costs a file descriptor.
pub const LISTENERS_MAX: usize = 10_000;
/// Backends in the whole file: at one health check each 2 s, 25,000 checks a second.
pub const BACKENDS_MAX: usize = 50_000;
/// More threads than this is a slip of the pen.
pub const WORKERS_MAX: u16 = 1024;
/// The scale that HAProxy users know.
pub const WEIGHT_MAX: u16 = 256;
/// Enough for any pool; each one in flight costs a file descriptor.
pub const CONNECT_RETRIES_MAX: u8 = 16;
/// Connections to the admin port that may wait: more than are served at once.
pub const ADMIN_BACKLOG: u32 = 1024;
/// Names that a browser may know lb by: each is compared at each request.
pub const ADMIN_HOSTS_MAX: usize = 32;
/// `history.keep`: an hour is a file.
pub const HISTORY_KEEP: RangeInclusive<Duration> = Duration::from_hours(1)..=Duration::from_hours(24 * 366);
/// `history.max_size`: at least an hour of a hundred backends, at most a disk.
pub const HISTORY_BYTES: RangeInclusive<u64> = (1 << 20)..=(1 << 44);
/// Bytes of a name: it becomes a metric label and a part of a URL.
pub const NAME_BYTES_MAX: usize = 64;
/// `rise` and `fall`: at 2 s each, over half an hour.
pub const CHECKS_IN_A_ROW_MAX: u32 = 1_000;
/// `send` and `expect`: one read of a prober.
pub const EXPECT_BYTES_MAX: usize = 4096;
/// Bytes of `path`: what HTTP servers take without asking.
pub const HTTP_PATH_BYTES_MAX: usize = 2048;

/// An operator who waits longer than a day for the last session wants no restart at all; 0 = don't wait.
pub const DRAIN_TIMEOUT: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(24);
/// Linux itself gives up a connect after about 130 s.
pub const CONNECT_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_mins(10);
/// The longest: a connection of a pool that rests over a holiday.
pub const IDLE_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(168);
/// Below 10 ms the checks are the load.
pub const HEALTH_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(1);
/// Below a second a peer on a poor line would be taken for gone; above the upper end the kernel is first.
pub const PEER_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(15);
/// `max_session`: shorter is no session, longer is no limit.
pub const MAX_SESSION: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24 * 366);
/// `max_memory`: less wouldn't carry lb itself.
pub const MEMORY_BYTES: RangeInclusive<u64> = (16 << 20)..=(1 << 44);
/// Networks of `[service.access]`: a binary search for each length of prefix.
pub const ACCESS_NETWORKS_MAX: usize = 100_000;
/// A source that may come more often has no limit.
pub const SOURCE_RATE_MAX: u32 = 1_000_000;
/// Connections that may wait in a listener's queue; the kernel cuts it to `net.core.somaxconn`.
pub const BACKLOG_MAX: u32 = 65_535;
/// A probe's whole time.
pub const HEALTH_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_mins(10);
/// Longer than a day, and the backend has been up for good.
pub const SLOW_START: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
/// The table counts whole seconds.
pub const STICKY_TTL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24 * 30);
/// 18 bytes each: 180 MB.
pub const STICKY_SIZE_MAX: u32 = 10_000_000;
/// Replicas of a service: each is two processes. More than that belong on several machines.
pub const REPLICAS_MAX: usize = 256;
/// And those of it that are on their way out beside them.
pub const REPLICAS_LEAVING_MAX: usize = 16;
/// Words of a command, and variables of its environment.
pub const COMMAND_WORDS_MAX: usize = 256;
/// Bytes of a command or an environment together: both go to the process that starts it in one message.
pub const COMMAND_BYTES_MAX: usize = 32 << 10;
/// Until a replica is started again, taken for hung, or ended by force.
pub const REPLICA_SPAN: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(1);
/// Live connections of one replica: more than a machine has ports for is a slip of the pen.
pub const TARGET_CONNECTIONS_MAX: u32 = 1_000_000;
/// How long the load must have been low before replicas go: below a second it would be noise, and after a day another day begins.
pub const COOLDOWN: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
/// How far ahead the load is forecast: a replica that takes more than an hour to start needs a plan, no forecast.
pub const PREDICT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
/// The length of the load's pattern: a minute for a try, up to a week.
pub const SEASON: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(24 * 7);
/// Slots of a wheel, 4 bytes each, built anew at each change of the pool. At most this many for each service.
pub const SLOTS_MAX: u32 = 1 << 22;
/// Of one backend.
pub const VIRTUAL_NODES_MAX: u32 = 100_000;
/// Virtual nodes of all backends of a ring together: 10 bytes each, sorted in a second at each change of the pool.
pub const RING_POINTS_MAX: u32 = 1 << 22;
/// Slots and virtual nodes of the whole file, a third more than its most backends have on rings of the default size: 1.4 GB at most,
/// where a thousand services could ask for 40.
pub const SLOTS_IN_FILE_MAX: usize = 1 << 27;
/// A Maglev table of less than this is too coarse to be fair to more than two backends.
pub const MAGLEV_SLOTS_MIN: u32 = 251;
/// Beyond a hundred times the mean a bound bounds nothing.
pub const LOAD_FACTOR: RangeInclusive<f64> = 1.0..=100.0;
/// Backends of one answer, unless `max_backends` says more: a list of a thousand that nobody expected is a mistake of whoever keeps it.
pub const DISCOVERED_MAX: u32 = 1_000;
/// Each change makes the pool anew: at 50,000 backends that takes longer than a hundredth of a second.
pub const CHANGES_PER_SECOND_MAX: u32 = 100;
/// Networks of `allow`: each address is compared with all of them.
pub const ALLOWED_NETWORKS_MAX: usize = 256;
/// From one look at a page to the next: below 100 ms the looks are a load.
pub const DISCOVERY_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);
/// Bounds of a TTL.
pub const DNS_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(24);
/// etcd takes requests of 1.5 MiB; nobody's keys begin with more than this.
pub const ETCD_PREFIX_BYTES_MAX: usize = 1024;
