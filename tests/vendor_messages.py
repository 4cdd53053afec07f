"""INVITEs in the shapes that phone systems were seen to send, written from the census: one for each kind of sender.

Numbers are Ofcom's for drama (01632 960xxx). Each shape is given as it was published, in the clear, and rewritten to SRTP.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tests import sip_rig as rig

CUSTOMER, AGENT = "+441632960011", "2041"


@dataclass(frozen=True)
class Shape:
    """One sender's INVITE: `labels` as the answer must echo them, `odd` what must be noticed, `parties` by leg."""

    name: str
    rows: tuple[int, ...]
    labels: tuple[str, ...]
    odd: frozenset[str]
    parties: tuple[str, ...]
    write: Callable[[bool, str], str]


def line(port: int, secure: bool, formats: str, *attributes: str) -> str:
    """One audio line: RTP/SAVP with a key, or RTP/AVP as published."""
    key = rig.crypto().rstrip() if secure else ""
    rows = [f"m=audio {port} {'RTP/SAVP' if secure else 'RTP/AVP'} {formats}", *attributes, *([key] if key else [])]
    return "".join(f"{row}\r\n" for row in rows)


def session(*lines: str, connection: str = "c=IN IP4 192.0.2.9\r\n", end: str = "\r\n") -> str:
    return f"v=0\r\no=SBC 2890 1 IN IP4 192.0.2.9\r\ns=-\r\n{connection}t=0 0\r\n{''.join(lines)}".replace("\r\n", end)


def parts(boundary: str, *found: tuple[str, str], closing: str = "--", extra: str = "") -> str:
    """A multipart body; `found` are pairs of part headers and content."""
    return "".join(f"--{boundary}\r\n{heads}{extra}\r\n\r\n{content}\r\n" for heads, content in found) + f"--{boundary}{closing}\r\n"


def invite(call_id: str, content_type: str, body: str, *, heads: str = "", to: str = "<sip:srs@recorder.example>", source: str = "",
           contact: str = "<sip:sbc@192.0.2.9:5061;transport=tls>;+sip.src", hops: str = "Max-Forwards: 70\r\n") -> str:  # fmt: skip
    """The whole INVITE. `content_type` is the header as it stands, its name included."""
    return (
        f"INVITE sip:srs@recorder.example SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.9:5061;branch=z9hG4bK{call_id}\r\n{hops}"
        f"From: {source or '<sip:sbc@192.0.2.9>'};tag=ft\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: 1 INVITE\r\nContact: {contact}\r\n"
        f"{heads}{content_type}Content-Length: {len(body.encode())}\r\n\r\n{body}"
    )


SIPREC = "Require: siprec\r\n"
SDP_PART = "Content-Type: application/sdp"


def sonus(secure: bool, call_id: str) -> str:
    offer = session(line(4000, secure, "8 101", "a=label:1", "a=sendonly"), line(4002, secure, "8 101", "a=label:2", "a=sendonly"))
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><tns:recording xmlns:tns="urn:ietf:params:xml:ns:recording:1"><tns:datamode>complete'
        '</tns:datamode><tns:session session_id="c0ffee-1"><tns:start-time>1970-01-01T00:00:00Z</tns:start-time></tns:session>'
        f'<tns:participant participant_id="p1"><tns:nameID aor="{CUSTOMER};noa=4"><tns:name> </tns:name></tns:nameID></tns:participant>'
        f'<tns:participant participant_id="p2"><tns:nameID aor="sip:{AGENT}@pbx.example"><tns:name> </tns:name></tns:nameID></tns:participant>'
        '<tns:stream stream_id="s1"><tns:label>1</tns:label></tns:stream><tns:stream stream_id="s2"><tns:label>2</tns:label></tns:stream>'
        '<tns:participantstreamassoc participant_id="p1"><tns:send>s1</tns:send></tns:participantstreamassoc>'
        '<tns:participantstreamassoc participant_id="p2"><tns:send>s2</tns:send></tns:participantstreamassoc>'
        "<callData>Diversion: &lt;sip:9@x&gt;&#13;&#10;X-Note: y</callData></tns:recording>"
    )
    body = parts("sonus-content-delim", (SDP_PART, offer), ("Content-Type: application/rs-metadata", xml))
    return invite(call_id, 'Content-Type: multipart/mixed ; boundary="sonus-content-delim" \r\n', body, heads=SIPREC)


def broadworks(secure: bool, call_id: str) -> str:
    offer = session(line(5000, secure, "8 0", "a=label:1"), line(5002, secure, "8 0", "a=label:2"))
    xml = (
        '<recording_metadata xmlns="urn:ietf:params:xml:ns:siprec"><dataMode>complete</dataMode><session id="bw-session-77"/>'
        f'<participant id="u1"><aor>sip:{CUSTOMER}@as.example</aor><send><id>m1</id></send></participant>'
        f'<participant id="u2"><aor>sip:{AGENT}@as.example</aor><name>Sam Staff</name><send><id>m2</id></send></participant>'
        '<stream id="m1" session="bw-session-77"><label>1</label></stream><stream id="m2" session="bw-session-77"><label>2</label></stream>'
        "</recording_metadata>"
    )
    body = parts("UniqueBroadWorksBoundary", ("Content-Type: application/rs-metadata+xml", xml), (SDP_PART, offer))
    return invite(call_id, "Content-Type: multipart/mixed;boundary=UniqueBroadWorksBoundary \r\n", body)


def cisco_cube(secure: bool, call_id: str) -> str:
    offer = session(line(6000, secure, "18 101", "a=label:10", "a=sendonly"), line(6002, secure, "18 101", "a=label:20", "a=sendonly"))
    gtd = ("Content-Type: application/gtd\r\nContent-Disposition: signal;handling=optional", "IAM,\r\nPRN,isdn*,,ATT5*,")
    xml = rig.METADATA.replace("<label>1<", "<label>10<").replace("<label>2<", "<label>20<")
    body = parts("uniqueBoundary", (SDP_PART, offer), gtd, ("Content-Type: application/rs-metadata+xml\r\nContent-Disposition: recording-session", xml))
    contact = "<sip:cube@192.0.2.9:5061;transport=tls;+sip.src>"
    return invite(call_id, "Content-Type: multipart/mixed;boundary=uniqueBoundary\r\n", body, heads="Require: 100relsiprec\r\n", contact=contact)


def oracle(secure: bool, call_id: str) -> str:
    offer = session(line(7000, secure, "0", "a=label:16777227", "a=sendonly"), line(7002, secure, "0", "a=label:16777228", "a=sendonly"))
    second = session(line(7100, False, "0", "a=label:9"))
    xml = (
        '<?xml version="1.0"?><recording xmlns="urn:ietf:params:xml:ns:recording"><dataMode>complete</dataMode>'
        '<session id="ses-4711-0815"><associate-time>2026-11-24T09:00:00</associate-time></session>'
        f'<participant id="p1" session="ses-4711-0815"><nameID aor="sip:{CUSTOMER}@sbc.example"/><send>s1</send></participant>'
        f'<participant id="p2" session="ses-4711-0815"><nameID aor="sip:{AGENT}@sbc.example"/><send>s2</send></participant>'
        '<stream id="s1" session="ses-4711-0815"><label>16777227</label></stream><stream id="s2"><label>16777228</label></stream></recording>'
    )
    body = parts("boundary-in-body", (SDP_PART, offer), (SDP_PART, second), ("Content-Type: application/rs-metadata+xml", xml))
    return invite(call_id, "Content-Type: multipart/mixed; boundary=boundary-announced\r\n", body, heads=SIPREC)


def metaswitch(secure: bool, call_id: str) -> str:
    offer = session(line(8000, secure, "8 101", "a=label:1"))
    xml = rig.METADATA
    body = "".join(
        f"--perimeta\r\nContent-Type:{kind}\r\nContent-Length:{len(content)}\r\n\r\n{content}\r\n"
        for kind, content in (("application/sdp", offer), ("application/rs-metadata", xml))
    )
    return invite(call_id, "Content-Type:multipart/mixed;boundary=perimeta\r\n", f"{body}--perimeta--\r\n", heads=SIPREC)


def audiocodes(secure: bool, call_id: str) -> str:
    labels = ("a_leg", "b_leg")
    lines = [line(9000 + 2 * at, secure, "8 18 96", f"a=label:{label}", "a=sendonly", "a=fmtp:18 annexb = no") for at, label in enumerate(labels)]
    offer = session(*(text.replace("\r\n", "\r\nc=IN IP4 192.0.2.9\r\n", 1) for text in lines), connection="")
    xml = (
        '<?xml version="1.0"?><recording xmlns="urn:ietf:params:xml:ns:recording"><datamode>complete</datamode><session id="AC-00-11-22"/>'
        f'<participant id="1" session="AC-00-11-22"><nameID aor="{CUSTOMER}"><name>A&amp;B</name></nameID><send>x1</send></participant>'
        f'<participant id="2" session="AC-00-11-22"><nameID aor="{AGENT}@gw.example"/><send>x2</send></participant>'
        '<stream id="x1" session="AC-00-11-22"><label>a_leg</label></stream><stream id="x2" session="AC-00-11-22"><label>b_leg</label></stream></recording>'
    )
    body = parts("boundary_ac1fe", (SDP_PART, offer), ("Content-Type: application/rs-metadata", xml))
    return invite(call_id, "Content-Type: multipart/mixed;boundary=boundary_ac1fe\r\n", body, heads=SIPREC)


def opensips(secure: bool, call_id: str) -> str:
    offer = session(line(10000, secure, "0 8", "a=label:553654187", "a=sendonly"), line(10002, secure, "0 8", "a=label:553654188", "a=sendonly"))
    xml = (
        '<?xml version="1.0"?><recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode>'
        f'<participant participant_id="p1"><nameID aor="sip:{CUSTOMER}@h;user=phone&x=1"><name>Q & A</name></nameID></participant>'
        f'<participant participant_id="p2"><nameID aor="sip:@host"/></participant><associate-time>2026-11-24T09:00:00+0000</associate-time></recording>'
    )
    body = parts("OSS-unique-boundary-42", (SDP_PART, offer), ("Content-Type: application/rs-metadata+xml", xml))
    return invite(call_id, "Content-Type: multipart/mixed;boundary=OSS-unique-boundary-42\r\n", body, to="sip:srs@recorder.example",
                  contact="<sip:opensips@192.0.2.9:5061;transport=tls>", heads=SIPREC)  # fmt: skip


def avaya(secure: bool, call_id: str) -> str:
    offer = session(line(11000, secure, "0 101", "a=label:0", "a=sendonly"))
    xml = (
        '<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode><session session_id="avaya-1-2-3"/>'
        '<participant participant_id="dummy"><nameID aor=""/></participant><stream stream_id=""><label>0</label></stream>'
        '<stream stream_id="later"><label>3</label></stream></recording>'
    )
    body = parts("avaya;cut", (SDP_PART, offer), ("Content-Type: application/rs-metadata+xml", xml))
    return invite(call_id, 'Content-Type: multipart/mixed;boundary="avaya;cut"\r\n', body, heads=SIPREC, contact="<sip:sbce@192.0.2.9>;src")


def sems(secure: bool, call_id: str) -> str:
    offer = session(line(12000, secure, "8 96", "a=rtpmap:96 OPUS/48000/2", "a=3gOoBTC", "a=direction:both"), end="\n")
    xml = (
        '<recording xmlns="urn:ietf:params:xml:ns:recording:1"><dataMode>Complete</dataMode><participant participant_id="p">'
        f'<nameID aor="&quot;Pat (home)&quot; &lt;sip:{CUSTOMER};noa=3@h&gt;"/></participant></recording>'
    )
    body = parts("=_sems/cut?1", (SDP_PART, offer), ("Content-Type: application/rs-metadata", xml))
    return invite(call_id, "Content-Type: multipart/mixed;boundary==_sems/cut?1\r\n", body, heads="Subject: folded\r\n over lines\r\n" + SIPREC)


def aws(secure: bool, call_id: str) -> str:
    offer = session(line(13000, secure, "0", "a=label:1", "a=sendonly"), line(13002, secure, "0", "a=label:2", "a=sendonly"))
    xml = '<?xml version="1.0"?><recording><participant participant_id="p"><nameID aor="x"><naSRCme>Pat</name></nameID></participant></recording>'
    body = parts("aws", ("Content-Type: application/SDP", offer), ("Content-Type: application/rs-metadata+xml", xml))
    return invite(call_id, "Content-Type: multipart/mixed;boundary=aws\r\n", body, heads=SIPREC, hops="")


def netsapiens(secure: bool, call_id: str, group: str = "grp-8d1c-55", sequence: int = 1, agent: str = AGENT) -> str:
    offer = session(line(14000, secure, "0", "a=label:1", "a=sendonly"), line(14002, secure, "0", "a=label:2", "a=sendonly"))
    xml = (
        f'<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode><group group_id="{group}"><groupSeq>{sequence}'
        f'</groupSeq></group><participant participant_id="p1"><nameID aor="sip:{CUSTOMER}@ns"/></participant>'
        f'<participant participant_id="p2"><nameID aor="sip:{agent}@ns"/></participant><stream stream_id="st-1"><label>1</label></stream>'
        '<stream stream_id="st-2"><label>2</label></stream><participantstreamassoc participant_id="p1"><send>st-1</send></participantstreamassoc>'
        '<participantstreamassoc participant_id="p2"><send>st-2</send></participantstreamassoc></recording>'
    )
    body = parts("ns", (SDP_PART, offer), ("Content-Type: application/rs-metadata+xml", xml))
    return invite(call_id, "Content-Type: multipart/mixed;boundary=ns\r\n", body, heads=SIPREC)


def cisco_ucm(call_id: str, end: str, reference: str = "27298698", agent: str = AGENT) -> str:
    """A built-in bridge's INVITE: no body at all; From tells which end, and what call."""
    params = f"x-{end}end;x-refci={reference};x-nearendclusterid=C1;x-nearenddevice=SEP0;x-nearendaddr={agent};x-farendrefci=27298699;x-farendaddr={CUSTOMER}"
    return invite(call_id, "", "", source=f"<sip:{agent}@192.0.2.9;{params}>", contact="<sip:ucm@192.0.2.9:5061;transport=tls>")


def odd(*names: str) -> frozenset[str]:
    return frozenset(names)


SHAPES = (
    Shape("sonus", (1, 4, 7, 14), ("1", "2"), odd("type-without-xml", "boundary-blanks", "name-blank", "time-1970", "aor-without-scheme"),
          ("customer", "staff"), sonus),
    Shape("broadworks", (2, 4, 5, 12, 14), ("1", "2"), odd("metadata-first", "dialect-siprec", "send-in-participant", "direction-other", "require-missing"),
          ("customer", "staff"), broadworks),
    Shape("cisco-cube", (3, 9, 13, 14), ("10", "20"), odd("extra-part", "require-joined"), ("customer", "staff"), cisco_cube),
    Shape("oracle", (3, 4, 6, 9, 21), ("16777227", "16777228"), odd("second-sdp", "boundary-wrong", "dialect-draft", "send-in-participant", "time-unclear"),
          ("customer", "staff"), oracle),
    Shape("metaswitch", (1, 4, 10, 11, 12), ("1",), odd("type-without-xml", "part-length", "line-mixed", "label-without-line", "direction-other"),
          ("unknown",), metaswitch),
    Shape("audiocodes", (1, 6, 8, 9, 13), ("a_leg", "b_leg"), odd("type-without-xml", "dialect-draft", "aor-without-scheme", "codec-unnamed"),
          ("customer", "staff"), audiocodes),
    Shape("opensips", (8, 9, 14, 20, 21, 28), ("553654187", "553654188"),
          odd("markup-unescaped", "aor-unreadable", "streams-missing", "to-without-brackets", "contact-without-src", "time-unclear", "participant-dummy"),
          ("unknown", "unknown"), opensips),
    Shape("avaya-sbce", (9, 10, 11, 16), ("0",), odd("participant-dummy", "stream-unnamed", "label-without-line", "contact-without-src"),
          ("unknown",), avaya),
    Shape("sems", (1, 4, 8, 9, 12, 13, 17, 28), (), odd("boundary-unquoted", "label-missing", "direction-other", "mode-in-capitals", "streams-missing"),
          ("unknown",), sems),
    Shape("aws", (1, 22, 28), ("1", "2"), odd("metadata-malformed", "type-in-capitals", "hops-missing"), ("unknown", "unknown"), aws),
    Shape("netsapiens", (18, 20), ("1", "2"), odd(), ("customer", "staff"), netsapiens),
)  # fmt: skip
