//! What the tests of the store share: batches that are quick to write down.

#![allow(dead_code, unreachable_pub, unused_imports, unused_macros, reason = "each test program uses a part of it")]
#![allow(async_fn_in_trait, missing_docs, reason = "the trait and the cases are for our own tests")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

pub mod cases;

use std::path::PathBuf;
use std::time::Duration;

use orderflow::ErrorCode;
use orderflow::order::{DeliveryOrder, Identity, InventoryOrder, Movement, Source};
use orderflow::place::TopicId;
use orderflow::store::{
    Applied, Batch, DeadLetter, DeliveryPolicy, Entry, Original, Outcome, Part, Position, RedbDeliveries,
    RedbInventory, RedbSettings, ReorderLevels, Retention, Settled, Store, StoreReader, Topic, Work,
};

/// A folder that is removed in the end, with the path of a store in it.
pub fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("inventory.redb");
    (folder, path)
}

/// The topic of the tests.
pub fn topic() -> Topic {
    Topic::new(TopicId::new([7; 16]), "inventory_orders")
}

/// Our own form of an identity.
pub fn numbered(source: u8, index: u64) -> Option<Identity> {
    Some(Identity::numbered(Source::of_digest([source; 32]), index).unwrap())
}

/// A movement of `quantity` pieces, out if negative.
pub fn movement(product: &str, quantity: i32) -> Work<InventoryOrder> {
    let direction = if quantity < 0 { Movement::Issue } else { Movement::Receipt };
    let order = InventoryOrder::new("97537", product, quantity.unsigned_abs(), "5/30/2023").unwrap();
    Work::Apply(order.with_movement(direction))
}

/// A record that is set aside.
pub fn dead_letter() -> Work<InventoryOrder> {
    let original = Original { key: None, value: Some(b"{not json".as_slice().into()), headers: Vec::new() };
    let reason = "the value is no JSON".to_owned();
    Work::DeadLetter(DeadLetter { code: "ORD-JSON".into(), reason, attempts: 1, original })
}

/// An entry at an offset; its record was written a second after the one before.
pub fn entry(offset: i64, identity: Option<Identity>, work: Work<InventoryOrder>) -> Entry<InventoryOrder> {
    Entry { offset, timestamp: 1_700_000_000_000 + offset * 1_000, identity, work }
}

/// A part that follows on a position and settles its entries.
pub fn part(partition: i32, at: &Position, entries: Vec<Entry<InventoryOrder>>) -> Part<InventoryOrder> {
    let next = entries.last().map_or(at.next, |entry| entry.offset + 1);
    Part {
        partition,
        expected: at.version,
        token: u128::from(at.version) + 1_000,
        next,
        settled: Settled::new(),
        leader_epoch: 3,
        entries,
    }
}

/// A batch of one part.
pub fn batch(part: Part<InventoryOrder>) -> Batch<InventoryOrder> {
    Batch { topic: topic(), parts: vec![part] }
}

/// The outcomes of the only part.
pub fn outcomes(applied: &Applied) -> Vec<Outcome> {
    assert_eq!(applied.parts.len(), 1);
    applied.parts[0].outcomes.clone()
}

/// Where a store is kept that outlives its processes.
pub trait Home: Sized {
    type Inventory: Store<InventoryOrder>;
    type Deliveries: Store<DeliveryOrder>;

    /// An empty place.
    async fn new() -> Self;

    /// Opens the store, also right after its last process was killed.
    async fn open_with(&self, terms: Terms) -> Self::Inventory;

    async fn open(&self) -> Self::Inventory {
        self.open_with(Terms::default()).await
    }

    async fn open_deliveries(&self, policy: DeliveryPolicy) -> Self::Deliveries;

    async fn open_with_levels(&self, levels: ReorderLevels) -> Self::Inventory;

    async fn reader(&self, store: &Self::Inventory) -> StoreReader;

    async fn delivery_reader(&self, store: &Self::Deliveries) -> StoreReader;
}

/// Settings that every store has.
#[derive(Clone, Copy)]
pub struct Terms {
    pub retention: Retention,
    pub dead_letters_max_bytes: u64,
}

impl Default for Terms {
    fn default() -> Self {
        Self { retention: Retention::default(), dead_letters_max_bytes: 1 << 30 }
    }
}

/// A folder with files of the embedded store.
pub struct Redb {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Home for Redb {
    type Inventory = RedbInventory;
    type Deliveries = RedbDeliveries;

    async fn new() -> Self {
        let (folder, path) = place();
        Self { folder, path }
    }

    /// A killed store is free once its thread has ended.
    async fn open_with(&self, terms: Terms) -> RedbInventory {
        let mut settings = RedbSettings::default();
        settings.retention = terms.retention;
        settings.dead_letters_max_bytes = terms.dead_letters_max_bytes;
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            match RedbInventory::open_with(&self.path, "inventory", settings) {
                Err(error) if error.code() == ErrorCode::StoreLocked && std::time::Instant::now() < deadline => {
                    tokio::task::yield_now().await;
                }
                opened => return opened.unwrap(),
            }
        }
    }

    async fn open_deliveries(&self, policy: DeliveryPolicy) -> RedbDeliveries {
        let path = self.folder.path().join("delivery.redb");
        RedbDeliveries::open_with(path, "delivery", RedbSettings::default(), policy).unwrap()
    }

    async fn open_with_levels(&self, levels: ReorderLevels) -> RedbInventory {
        RedbInventory::open_with_levels(&self.path, "inventory", RedbSettings::default(), levels).unwrap()
    }

    /// Through the socket, as another process asks.
    async fn reader(&self, _store: &RedbInventory) -> StoreReader {
        StoreReader::open(&self.path).await.unwrap()
    }

    async fn delivery_reader(&self, store: &RedbDeliveries) -> StoreReader {
        store.reader()
    }
}

/// Makes each case a test on the embedded store.
macro_rules! on_redb {
    ($module:ident: $($case:ident),*) => {
        $(
            #[tokio::test]
            async fn $case() {
                store_support::cases::$module::$case::<store_support::Redb>().await;
            }
        )*
    };
}
pub(crate) use on_redb;

/// Hands the cases of `rules` to a macro.
macro_rules! rule_cases {
    ($with:ident) => {
        $with! { rules:
            r1_effect_and_position_are_committed_together, r2_an_old_version_changes_nothing_in_any_part, r3_the_start_is_read_from_the_store_and_set_before_the_first_fetch, r4_the_position_moves_over_settled_offsets_only, r5_a_repeat_after_a_lost_answer_has_the_same_answer_and_no_second_effect, a_dropped_call_leaves_the_store_whole_and_its_repeat_gives_the_answer, r5_two_copies_that_fail_in_one_batch_have_their_own_answers_again
        }
    };
}
pub(crate) use rule_cases;

/// Hands the cases of `letters` to a macro.
macro_rules! letter_cases {
    ($with:ident) => {
        $with! { letters:
            another_failing_copy_raises_the_attempts_and_a_copy_that_applies_closes_the_letter, a_record_without_identity_is_known_by_its_place, a_refusal_is_an_effect_and_its_copies_are_duplicates, when_dead_letters_have_no_room_left_nothing_of_the_batch_is_applied
        }
    };
}
pub(crate) use letter_cases;

/// Hands the cases of `events` to a macro.
macro_rules! event_cases {
    ($with:ident) => {
        $with! { events:
            a_stock_alert_is_left_once_for_each_crossing_of_the_reorder_level_downwards, deliveries_that_are_scheduled_are_told_each_once_and_let_go_for_each_topic, a_delivery_that_moves_is_told_at_each_version_and_its_goods_come_back_once, the_outbox_says_how_much_waits_and_since_when
        }
    };
}
pub(crate) use event_cases;

/// Hands the cases of `forget` to a macro.
macro_rules! forget_cases {
    ($with:ident) => {
        $with! { forget:
            identities_are_forgotten_by_the_logs_time_and_not_before, nothing_younger_than_the_topics_own_retention_is_forgotten, a_record_of_the_far_future_does_not_make_the_store_forget, beyond_the_most_keys_the_oldest_are_forgotten_and_counted, a_source_that_spans_many_chunks_is_forgotten_whole
        }
    };
}
pub(crate) use forget_cases;

/// Hands the cases of `asking` to a macro.
macro_rules! asking_cases {
    ($with:ident) => {
        $with! { asking:
            movements_dead_letters_and_positions_are_listed, a_long_listing_comes_in_pages_and_each_product_once_in_order, a_delivery_is_scheduled_once_within_capacity_and_keeps_its_name, a_backfilled_order_is_found_in_the_topic_as_a_duplicate_and_has_no_place
        }
    };
}
pub(crate) use asking_cases;

/// Hands the cases of `model` to a macro.
macro_rules! model_cases {
    ($with:ident) => {
        $with! { model:
            settled_sets_stay_empty_while_nothing_waits
        }
    };
}
pub(crate) use model_cases;

/// Hands the cases of `trace` to a macro.
macro_rules! trace_cases {
    ($with:ident) => {
        $with! { trace:
            an_order_is_told_with_all_that_was_applied_and_what_was_set_aside, a_deliverys_whole_life_is_told_and_who_was_told_of_it
        }
    };
}
pub(crate) use trace_cases;

/// Hands the cases of `moves` to a macro.
macro_rules! move_cases {
    ($with:ident) => {
        $with! { moves:
            an_update_moves_its_delivery_once_and_what_cannot_be_is_recorded, updates_keep_the_rules_of_positions, an_updates_identity_has_nothing_to_do_with_an_orders, a_cancelled_delivery_gives_its_day_back, updates_that_came_before_their_delivery_are_made_with_it_in_the_logs_order, an_order_that_is_replayed_takes_the_updates_with_it_that_came_before, more_early_updates_than_are_known_by_heart_find_their_deliveries, an_early_update_that_cannot_be_is_kept_and_one_that_was_discarded_stays_so, a_move_by_command_is_made_once_or_refused_and_changes_nothing, deliveries_are_found_by_name_among_thousands
        }
    };
}
pub(crate) use move_cases;

/// Hands the cases of `overlay` to a macro.
macro_rules! overlay_cases {
    ($with:ident) => {
        $with! { overlay:
            what_a_handler_adds_enters_with_an_effect_that_is_applied_and_with_no_other, rows_that_handlers_add_are_listed_in_pages_and_stay_over_a_restart
        }
    };
}
pub(crate) use overlay_cases;

/// Hands the cases of `replays` to a macro.
macro_rules! replay_cases {
    ($with:ident) => {
        $with! { replays:
            where_a_handler_is_asked_first_a_replay_marks_its_row_and_a_second_one_changes_nothing, what_a_handler_adds_to_a_replay_enters_once_with_the_effect_and_no_position_moves, a_requested_row_that_fails_again_is_open_with_its_tries_counted_and_its_origin_kept, a_copy_by_the_log_that_applies_first_takes_the_request_with_it, of_several_that_ask_about_one_row_one_settles_it, a_mended_value_waits_with_its_request_and_an_answer_about_the_earlier_value_is_void, a_row_that_is_discarded_is_requested_no_more, a_row_that_opens_again_is_not_requested_any_more
        }
    };
}
pub(crate) use replay_cases;
