"""A page of one word: what Streamlit itself needs until anything is there."""

import streamlit as st

st.html("<dl class='figures'><dd>one</dd></dl>")
