//! The bytes of an answer to Fetch, in which stored batches are spliced instead of copied.
//!
//! Messages are encoded by the crate's codec, from the outside in. Each structure of the answer ends in the list (or the blob) that it
//! carries, so it is encoded with that empty, and the empty list is replaced by the count of what follows.

use super::answer::Answer;
use super::call::Call;
use super::fetch_session::TopicKey;
use super::log::Stored;
use crate::wire::message::{CodecError, Encode, FetchResponse, FetchableTopicResponse, PartitionData, Shape, Writer};

/// One partition's part of an answer.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) topic: TopicKey,
    /// All but the records.
    pub(super) partition: PartitionData,
    pub(super) batches: Vec<Stored>,
}

impl Part {
    /// Bytes of the records.
    pub(super) fn size(&self) -> usize {
        self.batches.iter().map(Stored::size).sum()
    }
}

/// Encodes the answer to a call.
pub(super) fn encode(
    call: &Call,
    session_id: i32,
    throttle_time_ms: i32,
    parts: Vec<Part>,
) -> Result<Answer, CodecError> {
    let shape = call.shape();
    let mut answer = call.answer();
    let topics: Vec<&[Part]> = parts.chunk_by(|one, next| one.topic == next.topic).collect();
    let response = FetchResponse { session_id, throttle_time_ms, ..Default::default() };
    open(&response, topics.len(), shape, &mut answer)?;
    for parts in topics {
        let mut topic = FetchableTopicResponse::default();
        match parts.first().map(|part| &part.topic) {
            Some(TopicKey::Name(name)) => topic.topic.clone_from(name),
            Some(TopicKey::Id(id)) => topic.topic_id = *id,
            None => {}
        }
        open(&topic, parts.len(), shape, &mut answer)?;
        for part in parts {
            encode_part(part, shape, &mut answer)?;
        }
        close(shape, &mut answer);
    }
    close(shape, &mut answer);
    Ok(answer)
}

fn encode_part(part: &Part, shape: Shape, answer: &mut Answer) -> Result<(), CodecError> {
    if part.batches.is_empty() {
        // It may have tagged fields.
        return part.partition.encode(&mut Writer::new(answer.encoded(), shape));
    }
    open(&part.partition, part.size(), shape, answer)?;
    for batch in &part.batches {
        answer.encoded().extend_from_slice(&batch.prefix());
        answer.splice(batch.body());
    }
    close(shape, answer);
    Ok(())
}

/// Encodes a structure that ends in an empty list, and says that `count` elements follow instead.
fn open(structure: &impl Encode, count: usize, shape: Shape, answer: &mut Answer) -> Result<(), CodecError> {
    let out = answer.encoded();
    structure.encode(&mut Writer::new(out, shape))?;
    // In the flexible forms a list of no elements is one byte, and so is the count of no tagged fields behind it.
    out.truncate(out.len() - if shape.flexible { 2 } else { 4 });
    let too_long = || CodecError::new(crate::wire::codec::Fault::TooLong(count), 0);
    let count = i32::try_from(count).ok().filter(|count| *count < i32::MAX).ok_or_else(too_long)?;
    if shape.flexible {
        Writer::new(out, shape).uvarint(count.unsigned_abs() + 1);
    } else {
        out.extend_from_slice(&count.to_be_bytes());
    }
    Ok(())
}

/// Ends a structure that was opened.
fn close(shape: Shape, answer: &mut Answer) {
    if shape.flexible {
        answer.encoded().push(0);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;
    use crate::broker::log::PartitionLog;
    use crate::broker::sample;
    use crate::place::TopicId;
    use crate::wire::message::{ApiKey, FetchRequest, Request, decode_body, decode_response_header, encode_body};
    use crate::wire::record_batch::BatchReader;

    #[test]
    fn every_version_is_what_the_codec_makes_of_the_same_message() {
        for version in FetchRequest::VERSIONS.min..=FetchRequest::VERSIONS.max {
            for sizes in [&[][..], &[10], &[10, 9000, 3], &[70_000]] {
                let (spliced, whole) = both(version, sizes);
                assert_eq!(spliced, whole, "version {version}, values of {sizes:?} bytes");
            }
        }
    }

    /// The answer as it is spliced, and as the codec alone would encode it, both decoded again.
    fn both(version: i16, sizes: &[usize]) -> (FetchResponse, FetchResponse) {
        let mut log = PartitionLog::default();
        for size in sizes {
            log.append(sample::incoming(&[&vec![7; *size]]), 3).unwrap();
        }
        let data = PartitionData { partition_index: 4, high_watermark: log.end(), ..Default::default() };
        let part = |topic, batches| Part { topic, partition: data.clone(), batches };
        let batches: Vec<_> = log.read(0, i64::MAX).cloned().collect();
        let topic = if version < 13 { TopicKey::Name("t".into()) } else { TopicKey::Id(TopicId::new([5; 16])) };
        let parts = vec![part(topic.clone(), batches.clone()), part(topic, Vec::new())];

        let call = sample::call(ApiKey::Fetch, version);
        let mut outgoing = encode(&call, 0, 9, parts).unwrap().finish().unwrap();
        let frame = outgoing.copy_to_bytes(outgoing.remaining()).split_off(4);
        let (_, body) = decode_response_header(ApiKey::Fetch, version, frame).unwrap();
        let spliced = decode_body(body, version, FetchRequest::FLEXIBLE_FROM).unwrap();

        let records: Vec<u8> = batches.iter().flat_map(|batch| [&batch.prefix(), &batch.body()[..]].concat()).collect();
        let first = PartitionData { records: Some(records.into()), ..data.clone() };
        let (name, id) = if version < 13 { ("t", TopicId::NONE) } else { ("", TopicId::new([5; 16])) };
        let topic = FetchableTopicResponse { topic: name.into(), topic_id: id, partitions: vec![first, data] };
        let whole = FetchResponse { throttle_time_ms: 9, responses: vec![topic], ..Default::default() };
        let mut body = Vec::new();
        encode_body(&whole, version, FetchRequest::FLEXIBLE_FROM, &mut body).unwrap();
        (spliced, decode_body(body.into(), version, FetchRequest::FLEXIBLE_FROM).unwrap())
    }

    #[test]
    fn stored_batches_are_sent_with_their_offsets_and_epoch_and_keep_their_checksum() {
        let (spliced, _) = both(12, &[10, 9000, 3]);
        let records = spliced.responses[0].partitions[0].records.clone().unwrap();
        let batches: Vec<_> = BatchReader::new(records).map(Result::unwrap).collect();
        let places: Vec<_> = batches.iter().map(|batch| (batch.base_offset(), batch.leader_epoch())).collect();
        assert_eq!(places, [(0, 3), (1, 3), (2, 3)]);
        assert!(batches.iter().all(|batch| batch.check_crc().is_ok()));
    }
}
