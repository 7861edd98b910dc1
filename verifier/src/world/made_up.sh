# Adds small releases to a copy of the genuine repository: `made_up.sh VERSION:HOW …`, HOW one of
# tagged, untagged and newsless. Prints version, commit and tree of each.
#
# The tree has what blurb takes for CPython's, and no more.
umask 022
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
export GIT_AUTHOR_NAME=Demo GIT_AUTHOR_EMAIL=demo@example.org GIT_AUTHOR_DATE="$COMMITTED +0000"
export GIT_COMMITTER_NAME=Demo GIT_COMMITTER_EMAIL=demo@example.org
export GIT_COMMITTER_DATE="$COMMITTED +0000"

cp -r /input/cpython.git cpython.git
for release in "$@"; do
    version=${release%:*} how=${release#*:}
    mkdir -p tree/{Include,Lib,Misc/NEWS.d,Misc/mypy,Python}
    cd tree
    printf 'This is Python version %s\n=============================\n' "$version" > README.rst
    printf 'A. HISTORY OF THE SOFTWARE\n==========================\n' > LICENSE
    printf '#define PY_VERSION "%s"\n' "$version" > Include/Python.h
    printf '/* Made up for a demo. */\n' > Python/ceval.c
    printf 'print("hello")\n' > Lib/hello.py
    printf '*.bat text eol=crlf\n' > .gitattributes
    printf 'strict = true\n' > Misc/mypy/mypy.toml
    printf '%s\n' ".. date: 2025-06-15-12-00-00" ".. gh-issue: 131313" ".. nonce: Demo01" \
        ".. release date: 2025-06-15" ".. section: Library" "" "A change." > Misc/NEWS.template
    cp Misc/NEWS.template "Misc/NEWS.d/$version.rst"
    if [ "$how" = newsless ]; then rm -r Misc/NEWS.d; fi
    export GIT_DIR=../cpython.git GIT_WORK_TREE=. GIT_INDEX_FILE=../index
    rm -f ../index
    git add -A -f
    tree=$(git write-tree)
    commit=$(git commit-tree -m "Python $version" "$tree")
    git update-ref "refs/heads/made-up-$version" "$commit"
    if [ "$how" != untagged ]; then git tag -a -m "Python $version" "v$version" "$commit"; fi
    echo "$version $commit $tree"
    unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
    cd ..
    rm -rf tree
done
rm -f index
