"""A made-up row of each dataset of ../shared/data/promptsource, with the fields the hub's has."""

_SQUAD = {
    "id": "1", "title": "Rivers", "context": "The Rhine ends in the North Sea, they say.",
    "question": "Where does the Rhine end?", "answers": {"text": ["the North Sea"],
    "answer_start": [17]},
}  # fmt: skip
_PAIR = {"sentence1": "He ran home.", "sentence2": "Home he ran.", "label": 1, "id": 7}
_COS_E = {
    "question": "Where do fish live?", "choices": ["sea", "tree", "sky", "desert", "cave"],
    "answer": "sea", "abstractive_explanation": "Fish need water.",
    "extractive_explanation": "fish live",
}  # fmt: skip
_NLI = {"premise": "A dog sleeps.", "hypothesis": "An animal rests.", "label": 0}
_DUORC = {
    "plot": "A man finds a map and sails away.", "title": "The Map", "no_answer": False,
    "question": "What does he find?", "answers": ["a map", "the map"],
}  # fmt: skip
_HOTPOT = {
    "question": "Which is older?", "answer": "Rome", "type": "comparison",
    "supporting_facts": {"title": ["Rome", "Oslo"], "sent_id": [0, 0]},
    "context": {"title": ["Rome", "Oslo"], "sentences": [["Rome is old. "], ["Oslo is young. "]]},
}  # fmt: skip
_WIKI_HOP = {
    "question": "country_of_origin the film", "answer": "norway", "candidates": ["norway", "peru"],
    "supports": ["The film was shot in Oslo.", "Oslo is in Norway."],
}  # fmt: skip
_WINO = {
    "sentence": "The cup did not fit into the box since the _ was small.",
    "option1": "cup", "option2": "box", "answer": "2",
}  # fmt: skip

ROWS = {
    **{f"adversarial_qa_{name}": {**_SQUAD, "metadata": {"split": "train"}}
       for name in ("adversarialQA", "dbert", "dbidaf", "droberta")},
    "ag_news": {"text": "Shares fall in Asia.", "label": 2},
    "amazon_polarity": {"title": "Broke at once", "content": "It fell apart.", "label": 0},
    **{f"anli_r{number}": _NLI for number in (1, 2, 3)},
    "app_reviews": {"review": "Works well.", "star": 4, "package_name": "org.app", "date": "May"},
    "cnn_dailymail_3_0_0": {"article": "A ship came in today.", "highlights": "Ship in."},
    "common_gen": {"concepts": ["dog", "run"], "target": "The dog runs.", "concept_set_idx": 1},
    "cos_e_v1_0": {**_COS_E, "choices": _COS_E["choices"][:3]},
    "cos_e_v1_11": _COS_E,
    "cosmos_qa": {"context": "I fell.", "question": "Why?", "answer0": "Ice", "answer1": "Sun",
                  "answer2": "Joy", "answer3": "None of the above choices .", "label": 0},
    "dbpedia_14": {"title": "Rhine", "content": "A river in Europe.", "label": 7},
    "dream": {"dialogue": ["M: Tea?", "W: Yes.", "M: Here."], "question": "What does she drink?",
              "choice": ["Tea", "Milk", "Wine"], "answer": "Tea"},
    "duorc_ParaphraseRC": _DUORC,
    "duorc_SelfRC": _DUORC,
    "gigaword": {"document": "a ship came in on monday .", "summary": "ship comes in"},
    "glue_mrpc": _PAIR,
    "glue_qqp": {"question1": "How old is Rome?", "question2": "What is Rome's age?", "label": 1},
    "hellaswag": {"ctx_a": "A man sits.", "ctx_b": "he", "ctx": "A man sits. he",
                  "endings": ["stands up.", "flies.", "melts.", "sings."], "label": "0",
                  "activity_label": "Sitting", "split_type": "indomain"},
    "hotpot_qa_distractor": _HOTPOT,
    "hotpot_qa_fullwiki": _HOTPOT,
    "imdb": {"text": "A fine film.", "label": 1},
    "multi_news": {"document": "One text.|||||Another text.|||||", "summary": "– Two texts."},
    **{f"paws_{name}": _PAIR for name in ("labeled_final", "labeled_swap", "unlabeled_final")},
    "qasc": {"question": "What do fish need?", "combinedfact": "Fish need water.",
             "choices": {"text": ["water", "sand", "snow", "oil", "air", "salt", "ice", "tin"],
                         "label": list("ABCDEFGH")},
             "answerKey": "A", "fact1": "Fish breathe in water.", "fact2": "Breathing is needed."},
    "quail": {"context": "She left.", "question": "Who left?", "answers": ["she", "he", "it",
              "not enough information"], "correct_answer_id": 0},
    "quarel": {"question": "Which is hotter? (A) fire (B) ice", "answer_index": 0,
               "world_literals": {"world1": ["fire"], "world2": ["ice"]}},
    "quartz": {"question": "Heat makes ice", "para": "Heat melts ice.", "answerKey": "A",
               "choices": {"text": ["melt", "grow"], "label": ["A", "B"]}},
    "quoref": _SQUAD,
    "ropes": {"background": "Ice melts in heat.", "situation": "Cup A is hot, cup B is not.",
              "question": "In which cup is water?", "answers": {"text": ["Cup A"]}},
    "rotten_tomatoes": {"text": "A fine film.", "label": 1},
    "samsum": {"dialogue": "Ann: Tea?\nBob: Yes.", "summary": "Bob wants tea.", "id": "1"},
    "sciq": {"question": "What melts?", "correct_answer": "ice", "distractor1": "fire",
             "distractor2": "air", "distractor3": "light", "support": "Ice melts in heat."},
    "social_i_qa": {"context": "Ann gave Bob tea.", "question": "How does Bob feel?",
                    "answerA": "glad", "answerB": "angry", "answerC": "lost", "label": "1"},
    "story_cloze_2016": {**{f"input_sentence_{number}": f"Ann took step {number}."
                            for number in (1, 2, 3, 4)},
                         "sentence_quiz1": "She arrived.", "sentence_quiz2": "She flew.",
                         "answer_right_ending": 1},
    "super_glue_cb": _NLI,
    "super_glue_copa": {"premise": "It rained.", "choice1": "The road got wet.",
                        "choice2": "The sun rose.", "question": "effect", "label": 0},
    "super_glue_rte": _NLI,
    "super_glue_wic": {"word": "bank", "sentence1": "A river bank.", "sentence2": "Banks lend.",
                       "label": 0},
    "super_glue_wsc_fixed": {"text": "Ann fed the cat as it was hungry.", "span1_text": "the cat",
                             "span2_text": "it", "span1_index": 2, "span2_index": 5, "label": 1},
    "trec": {"text": "Who wrote it?", "coarse_label": 3, "fine_label": 28},
    "wiki_bio": {"input_text": {"context": "ann", "table": {
        "column_header": ["name", "born"], "row_number": [1, 1], "content": ["ann", "1900"]}},
        "target_text": "ann was born in 1900 ."},
    "wiki_hop_masked": _WIKI_HOP,
    "wiki_hop_original": _WIKI_HOP,
    "wiki_qa": {"question": "How old is Rome?", "answer": "Rome is old.", "label": 1,
                "document_title": "Rome"},
    **{f"winogrande_winogrande_{size}": _WINO for size in ("debiased", "l", "m", "s", "xl", "xs")},
    "wiqa": {"question_para_step": ["Rain falls.", "Soil gets wet.", "Plants grow."],
             "question_stem": "Suppose less rain falls. How will it affect plants?",
             "answer_label": "less", "answer_label_as_choice": "B",
             "choices": {"text": ["more", "less", "no effect"], "label": list("ABC")},
             "metadata_question_type": "EXOGENOUS_EFFECT"},
    "xsum": {"document": "A ship came in today.", "summary": "A ship came."},
    "yelp_review_full": {"text": "Good tea.", "label": 4},
}  # fmt: skip
