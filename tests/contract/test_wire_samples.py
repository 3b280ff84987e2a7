"""The programs in docs/wire.md compile and give the golden bytes, where this machine has their compilers."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import xxhash

from tests.contract import wire_page, wire_reference

PAGE = wire_page.PAGE.read_text(encoding="utf-8")
#: Frames and values a frame of a longer take: three blocks.
N, WIDTH = 300, 3
VALUES = [float((7 * i) % 1009 - 504) / 256 for i in range(N * WIDTH)]
STAMPS = [1_760_000_000_000_000_000 + 8_333_333 * i for i in range(N)]
LONGER = wire_reference.hash_steps({"z": WIDTH}, STAMPS, {"z": VALUES})[1]


def sample(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)
    assert found, f"docs/wire.md has no sample in {language}"
    return found[1]


def golden() -> tuple[str, str, str]:
    """The chunk, the content hash and the layout_id of the golden episode, hexadecimal."""
    widths, stamps, values, start = wire_page.take()
    chunk = wire_page.messages()[1]["value_hex"]
    return chunk, wire_reference.hash_steps(widths, stamps, values)[1], start["layout_id"].hex()


def compiler(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"this machine has no {name}")
    return found


def built(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-3000:]


def said(command: list[str], folder: Path) -> list[str]:
    """What a program says; where it says ``xxh3 HEX`` it is answered with the digest its library would give."""
    running = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert running.stdin is not None
    assert running.stdout is not None
    lines = []
    with running:
        for line in running.stdout:
            word, _, rest = line.strip().partition(" ")
            if word == "xxh3":
                running.stdin.write(xxhash.xxh3_128_hexdigest(bytes.fromhex(rest)) + "\n")
                running.stdin.flush()
            else:
                lines.append(line.strip())
    assert running.returncode == 0
    return lines


CPP = """
#include <cstdio>
static void say(const Bytes& b) { for (unsigned char c : b) printf("%02x", c); printf("\\n"); }
int main() {
  const int64_t t0 = 1760000000000000000;
  const Bytes layout = Bytes("LAYOUT", 8);
  say(chunk("0199c82c-c000-7a3e-9d41-6f0e2b7c1a06", layout, 0, t0, {0.0, 0.01, 0.02},
            {{"position", {0.5f, -1.25f, 0.5078125f, -1.2421875f, 0.515625f, -1.234375f}},
             {"gripper", {1.0f, 0.5f, 0.0f}}}));
  say(content_hash({{"position", {2, {0.5f, -1.25f, 0.5078125f, -1.2421875f, 0.515625f, -1.234375f}}},
                    {"gripper", {1, {1.0f, 0.5f, 0.0f}}}}, {t0, t0 + 10000000, t0 + 20000000}));
  std::vector<float> values;
  std::vector<int64_t> stamps;
  for (int i = 0; i < 900; ++i) values.push_back(float((7 * i) % 1009 - 504) / 256);
  for (int i = 0; i < 300; ++i) stamps.push_back(t0 + 8333333LL * i);
  say(content_hash({{"z", {3, values}}}, stamps));
  for (int64_t n : {0LL, -1LL, 63LL, 64LL, -65LL, 9223372036854775807LL, -9223372036854775807LL - 1}) say(zigzag(n));
}
"""
LONGS = (0, -1, 63, 64, -65, 2**63 - 1, -(2**63))


def test_the_cpp_sample_writes_the_golden_chunk_and_hashes(tmp_path: Path) -> None:
    gxx = compiler("g++")
    spec = find_spec("pyarrow")
    header = Path(spec.origin or "").parent / "include" / "arrow" / "vendored" / "xxhash" if spec else Path()
    if not (header / "xxhash.h").is_file():
        pytest.skip("no xxhash.h at hand (pyarrow brings one)")
    chunk, digest, layout = golden()
    escaped = "".join(f'\\x{layout[at : at + 2]}""' for at in range(0, 16, 2))
    (tmp_path / "sample.cpp").write_text(sample("cpp") + CPP.replace("LAYOUT", escaped))
    built([gxx, "-std=c++17", "-O0", "-Wall", "-I", str(header), "sample.cpp", "-o", "sample"], tmp_path)
    longs = [wire_reference.long(n).hex() for n in LONGS]
    assert said([str(tmp_path / "sample")], tmp_path) == [chunk, digest, LONGER, *longs]


RUST = """
mod xxhash_rust { pub mod xxh3 {
    pub fn xxh3_128(bytes: &[u8]) -> u128 {
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        println!("xxh3 {hex}");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        u128::from_str_radix(line.trim(), 16).unwrap()
    }
} }
fn main() {
    let t0 = 1760000000000000000i64;
    let mut channels = BTreeMap::new();
    channels.insert("position".to_string(), (2, vec![0.5f32, -1.25, 0.5078125, -1.2421875, 0.515625, -1.234375]));
    channels.insert("gripper".to_string(), (1, vec![1.0, 0.5, 0.0]));
    println!("{}", content_hash(&channels, &[t0, t0 + 10000000, t0 + 20000000]));
    let values = (0..900).map(|i| ((7 * i) % 1009 - 504) as f32 / 256.0).collect();
    let stamps: Vec<i64> = (0..300).map(|i| t0 + 8333333 * i).collect();
    println!("{}", content_hash(&BTreeMap::from([("z".to_string(), (3, values))]), &stamps));
    let joints = ["shoulder_pan_joint", "shoulder_lift_joint"];
    let id = layout_id(&joints, &[("position", 2, "rad", &[]), ("gripper", 1, "1", &["opening"])]);
    println!("{}", id.iter().map(|b| format!("{b:02x}")).collect::<String>());
}
"""


def test_the_rust_sample_gives_hash_and_layout_id(tmp_path: Path) -> None:
    """Its hash function comes from a crate: here this process stands for it."""
    rustc = compiler("rustc")
    (tmp_path / "sample.rs").write_text(sample("rust") + RUST)
    built([rustc, "--edition", "2021", "-A", "warnings", "sample.rs", "-o", "sample"], tmp_path)
    _, digest, layout = golden()
    assert said([str(tmp_path / "sample")], tmp_path) == [digest, LONGER, layout]


JAVA = """
class Main {
    public static void main(String[] arguments) {
        long t0 = 1760000000000000000L;
        float[] position = {0.5f, -1.25f, 0.5078125f, -1.2421875f, 0.515625f, -1.234375f};
        float[] gripper = {1.0f, 0.5f, 0.0f};
        System.out.println(ContentHash.of(Map.of("position", new ContentHash.Channel(2, position),
            "gripper", new ContentHash.Channel(1, gripper)), new long[] {t0, t0 + 10000000, t0 + 20000000}));
        float[] values = new float[900];
        long[] stamps = new long[300];
        for (int i = 0; i < 900; i++) values[i] = ((7 * i) % 1009 - 504) / 256f;
        for (int i = 0; i < 300; i++) stamps[i] = t0 + 8333333L * i;
        System.out.println(ContentHash.of(Map.of("z", new ContentHash.Channel(3, values)), stamps));
    }
}
"""
#: What stands for hash4j, with the names that the sample uses.
HASH4J = {
    "HashValue128": """
public record HashValue128(long high, long low) {
    public long getMostSignificantBits() { return high; }
    public long getLeastSignificantBits() { return low; }
}
""",
    "Hashing": """
import java.util.HexFormat;
import java.util.Scanner;
public class Hashing {
    private static final Scanner ANSWERS = new Scanner(System.in);
    public static Hashing xxh3_128() { return new Hashing(); }
    public HashValue128 hashBytesTo128Bits(byte[] bytes, int from, int length) {
        System.out.println("xxh3 " + HexFormat.of().formatHex(bytes, from, from + length));
        String hex = ANSWERS.nextLine();
        long high = Long.parseUnsignedLong(hex.substring(0, 16), 16);
        return new HashValue128(high, Long.parseUnsignedLong(hex.substring(16), 16));
    }
}
""",
}


def test_the_java_sample_gives_the_hash(tmp_path: Path) -> None:
    """Its hash function comes from a jar: here this process stands for it."""
    javac, java = compiler("javac"), compiler("java")
    for name, body in HASH4J.items():
        (tmp_path / f"{name}.java").write_text("package com.dynatrace.hash4j.hashing;" + body)
    (tmp_path / "Main.java").write_text(sample("java") + JAVA)
    built([javac, "-d", ".", "Main.java", *(f"{name}.java" for name in HASH4J)], tmp_path)
    assert said([java, "-XX:+UseSerialGC", "-Xshare:auto", "-cp", ".", "Main"], tmp_path) == [golden()[1], LONGER]
