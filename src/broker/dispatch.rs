//! Which API serves a request.

use super::call::{Call, Close, Served};
use super::{
    api_versions, consumer_group_describe, consumer_group_heartbeat, create_partitions, create_topics, delete_groups,
    delete_records, delete_topics, describe_cluster, describe_configs, describe_groups, fetch, find_coordinator,
    heartbeat, init_producer_id, join_group, leave_group, list_groups, list_offsets, metadata, offset_commit,
    offset_delete, offset_fetch, offset_for_leader_epoch, produce, sync_group,
};
use crate::wire::message::ApiKey;

/// Serves one request. The future may be dropped: what was applied by then stays applied.
pub(super) async fn serve(call: Call) -> Result<Served, Close> {
    if call.api == ApiKey::ApiVersions {
        return api_versions::serve(call).await;
    }
    if !api_versions::serves(&call.shared.settings, call.api, call.version()) {
        return Err(Close::Unanswerable(format!("{} version {} is not served", call.api, call.version())));
    }
    match call.api {
        ApiKey::Produce => produce::serve(call).await,
        ApiKey::Fetch => fetch::serve(call).await,
        ApiKey::ListOffsets => call.serve(list_offsets::respond).await,
        ApiKey::Metadata => call.serve(metadata::respond).await,
        ApiKey::OffsetCommit => call.serve(offset_commit::respond).await,
        ApiKey::OffsetFetch => call.serve(offset_fetch::respond).await,
        ApiKey::FindCoordinator => call.serve(find_coordinator::respond).await,
        ApiKey::JoinGroup => call.serve(join_group::respond).await,
        ApiKey::Heartbeat => call.serve(heartbeat::respond).await,
        ApiKey::LeaveGroup => call.serve(leave_group::respond).await,
        ApiKey::SyncGroup => call.serve(sync_group::respond).await,
        ApiKey::DescribeGroups => call.serve(describe_groups::respond).await,
        ApiKey::ListGroups => call.serve(list_groups::respond).await,
        ApiKey::CreateTopics => call.serve(create_topics::respond).await,
        ApiKey::DeleteTopics => call.serve(delete_topics::respond).await,
        ApiKey::DeleteRecords => call.serve(delete_records::respond).await,
        ApiKey::InitProducerId => call.serve(init_producer_id::respond).await,
        ApiKey::OffsetForLeaderEpoch => call.serve(offset_for_leader_epoch::respond).await,
        ApiKey::DescribeConfigs => call.serve(describe_configs::respond).await,
        ApiKey::CreatePartitions => call.serve(create_partitions::respond).await,
        ApiKey::DescribeCluster => call.serve(describe_cluster::respond).await,
        ApiKey::DeleteGroups => call.serve(delete_groups::respond).await,
        ApiKey::OffsetDelete => call.serve(offset_delete::respond).await,
        ApiKey::ConsumerGroupHeartbeat => call.serve(consumer_group_heartbeat::respond).await,
        ApiKey::ConsumerGroupDescribe => call.serve(consumer_group_describe::respond).await,
        api => Err(Close::Unanswerable(format!("{api} is not served"))),
    }
}
